//! Rows that were read under their lock, and how their changes are written: the columns that differ from what was read, and
//! no others, so that nobody's write is undone by somebody who wrote something else.

use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};

use sea_orm::sea_query::{self, Alias, Expr, IntoIden, TableRef, ValueTuple};
use sea_orm::{
    ColumnTrait, ConnectionTrait, DbErr, EntityName, EntityTrait, ExprTrait, Iterable, ModelTrait,
};

use super::connection::{Query, ROWS_PER_STATEMENT, Write};
use super::update_event::UpdateEventRow;

/// A row as it was read, and as it is to be.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Locked<M> {
    read: M,
    row: M,
    is_saved: bool,
    /// What happened to an update since, to be written with it.
    pub(crate) events: Vec<UpdateEventRow>,
}

impl<M: Clone + PartialEq> Locked<M> {
    /// For those who locked the row, or its device.
    pub(super) fn new(row: M) -> Self {
        Self { read: row.clone(), row, is_saved: false, events: Vec::new() }
    }

    #[cfg(test)]
    pub(crate) fn in_a_test(row: M) -> Self {
        Self::new(row)
    }

    /// The row as it was read.
    pub(super) fn read(&self) -> &M {
        &self.read
    }

    /// Whether it is to be, or was, written.
    pub(crate) fn is_changed(&self) -> bool {
        self.is_saved || self.row != self.read
    }

    /// What was written is what is compared with from now on.
    pub(super) fn saved(&mut self) {
        if self.row != self.read {
            self.read = self.row.clone();
            self.is_saved = true;
        }
    }
}

impl<M> Deref for Locked<M> {
    type Target = M;

    fn deref(&self) -> &M {
        &self.row
    }
}

impl<M> DerefMut for Locked<M> {
    fn deref_mut(&mut self) -> &mut M {
        &mut self.row
    }
}

/// Rows that are compared column by column.
pub(super) trait Compared: ModelTrait {
    fn differs(&self, other: &Self, column: Column<Self>) -> bool;
}

/// Which field is which column. Values are made only of those that differ: making them all costs more than writing them.
macro_rules! compared {
    ($($column:ident: $field:ident),* $(,)?) => {
        impl super::locked::Compared for Model {
            fn differs(&self, other: &Self, column: Column) -> bool {
                match column {
                    $(Column::$column => self.$field != other.$field,)*
                }
            }
        }
    };
}
pub(super) use compared;

type Column<M> = <<M as ModelTrait>::Entity as EntityTrait>::Column;

impl Write {
    /// Writes what changed: one statement for all rows in which the same columns did. `key` is the number of the row.
    pub(super) async fn save_changes<'a, M>(
        &self,
        key: Column<M>,
        rows: impl Iterator<Item = &'a Locked<M>>,
    ) -> Result<(), DbErr>
    where
        M: Compared + 'a,
    {
        let columns: Vec<Column<M>> = Column::<M>::iter().collect();
        let mut by_columns: BTreeMap<Vec<usize>, Vec<ValueTuple>> = BTreeMap::new();
        for Locked { read, row, .. } in rows {
            let differs = |index: &usize| row.differs(read, columns[*index]);
            let changed: Vec<usize> = (0..columns.len()).filter(differs).collect();
            if !changed.is_empty() {
                let values = changed.iter().map(|index| row.get(columns[*index]));
                let values = std::iter::once(row.get(key)).chain(values).collect();
                by_columns.entry(changed).or_default().push(ValueTuple::Many(values));
            }
        }
        for (changed, rows) in by_columns {
            for rows in rows.chunks(ROWS_PER_STATEMENT) {
                // Both databases name the columns of a list of values column1, column2, …
                let value =
                    |number: usize| Expr::col((Alias::new("new"), Alias::new(format!("column{number}"))));
                let table = M::Entity::default();
                let mut update = sea_query::Query::update();
                update.table(table.table_ref());
                for (place, index) in changed.iter().enumerate() {
                    update.value(columns[*index], value(place + 2));
                }
                update
                    .from(TableRef::ValuesList(rows.to_vec(), Alias::new("new").into_iden()))
                    .and_where(Expr::col(key.as_column_ref()).eq(value(1)));
                self.connection().execute(&update).await?;
            }
        }
        Ok(())
    }
}
