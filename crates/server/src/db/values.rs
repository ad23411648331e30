//! Columns that hold more than a number or a plain text, each read and written in one place. What cannot be read is an
//! error that names the column.

use std::fmt::Display;
use std::ops::{Deref, DerefMut};

use api::{DeviceReport, LeftOut, NewRollout, Role};
use cause::Cause;
use contract::{ChannelName, Code, DeviceId, LastOutcome, Phase, ProductName, Sha256, Version};
use fleet::UpdateState;
use oidc::Job;
use sea_orm::sea_query::{ArrayType, ColumnType, Nullable, StringLen, ValueType, ValueTypeErr};
use sea_orm::{ColIdx, DbErr, IntoActiveValue, QueryResult, TryFromU64, TryGetError, TryGetable, Value};
use store::{Blocked, Inspection, Release};

use super::presence::KnownPresence;

/// A value that a column of texts holds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Text<T>(pub(crate) T);

/// How a value is written as a text.
pub(crate) trait AsText: Sized + PartialEq {
    fn read(text: &str) -> Result<Self, String>;

    fn write(&self) -> String;

    /// Whether both are written alike.
    fn is_same(&self, other: &Self) -> bool {
        self == other
    }
}

macro_rules! as_text {
    ($($kind:ty: $read:expr, $write:expr $(, $same:expr)?;)*) => {
        $(impl AsText for $kind {
            fn read(text: &str) -> Result<Self, String> {
                $read(text)
            }

            fn write(&self) -> String {
                $write(self)
            }

            $(fn is_same(&self, other: &Self) -> bool {
                $same(self) == $same(other)
            })?
        })*
    };
}

as_text! {
    DeviceId: parsed, ToString::to_string;
    ProductName: parsed, ToString::to_string;
    ChannelName: parsed, ToString::to_string;
    // Equal ones may differ in their build metadata.
    Version: parsed, ToString::to_string, Version::as_str;
    Sha256: |text| known(Sha256::from_hex(text)), |value: &Sha256| value.to_hex().to_string();
    KnownPresence: |text| known(KnownPresence::from_word(text)), |value: &KnownPresence| value.as_str().to_owned();
    Phase: |text| known([Phase::Download, Phase::Verify, Phase::Restart].into_iter().find(|phase| phase.as_str() == text)), |value: &Phase| value.as_str().to_owned();
    Code: |text| known(Code::parse(text)), |value: &Code| value.as_str().to_owned();
    UpdateState: |text| known(UpdateState::from_word(text)), |value: &UpdateState| value.as_str().to_owned();
    Role: |text| known(Role::from_word(text)), |value: &Role| value.as_str().to_owned();
    DeviceReport: from_json, to_json;
    LastOutcome: from_json, to_json;
    Cause: from_json, to_json;
    Job: from_json, to_json;
    Release: from_json, to_json;
    Inspection: from_json, to_json;
    Blocked: from_json, to_json;
    NewRollout: from_json, to_json;
    Vec<LeftOut>: from_json, to_json;
    serde_json::Value: from_json, to_json;
}

pub(super) fn known<T>(value: Option<T>) -> Result<T, String> {
    value.ok_or_else(|| "it is not known here".to_owned())
}

fn parsed<T: std::str::FromStr<Err: Display>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|why: T::Err| why.to_string())
}

fn from_json<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_json::from_str(text).map_err(|why| why.to_string())
}

fn to_json<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("our own types have texts as keys")
}

impl<T> Deref for Text<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for Text<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

impl<T> From<T> for Text<T> {
    fn from(value: T) -> Self {
        Self(value)
    }
}

impl<T: AsText> PartialEq for Text<T> {
    fn eq(&self, other: &Self) -> bool {
        self.0.is_same(&other.0)
    }
}

impl<T: PartialEq> PartialEq<T> for Text<T> {
    fn eq(&self, other: &T) -> bool {
        self.0 == *other
    }
}

impl<T: AsText> From<Text<T>> for Value {
    fn from(value: Text<T>) -> Self {
        value.write().into()
    }
}

impl<T: AsText> TryGetable for Text<T> {
    fn try_get_by<I: ColIdx>(row: &QueryResult, index: I) -> Result<Self, TryGetError> {
        let text = String::try_get_by(row, index)?;
        T::read(&text).map(Self).map_err(|why| {
            let column = index.as_str().unwrap_or("value");
            DbErr::Type(format!("the database holds a {column} that cannot be read: {why}")).into()
        })
    }
}

impl<T: AsText> ValueType for Text<T> {
    fn try_from(value: Value) -> Result<Self, ValueTypeErr> {
        T::read(&<String as ValueType>::try_from(value)?).map(Self).map_err(|_| ValueTypeErr)
    }

    fn type_name() -> String {
        "Text".to_owned()
    }

    fn array_type() -> ArrayType {
        ArrayType::String
    }

    fn column_type() -> ColumnType {
        ColumnType::String(StringLen::None)
    }
}

impl<T> Nullable for Text<T> {
    fn null() -> Value {
        Value::String(None)
    }
}

impl<T: AsText> IntoActiveValue<Text<T>> for Text<T> {
    fn into_active_value(self) -> sea_orm::ActiveValue<Self> {
        sea_orm::ActiveValue::Set(self)
    }
}

/// A text is never a number that the database gave.
impl<T> TryFromU64 for Text<T> {
    fn try_from_u64(_: u64) -> Result<Self, DbErr> {
        Err(DbErr::ConvertFromU64("Text"))
    }
}
