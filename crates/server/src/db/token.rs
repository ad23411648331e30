//! What authenticates: API tokens, sessions and login links. Only digests of secrets are here.

use api::Role;
use contract::ProductName;
use oidc::Job;
use sea_orm::entity::prelude::*;
use sea_orm::{ActiveValue, ExprTrait, QueryOrder, Set};

use super::connection::{Db, Query, Write};
use super::values::{AsText, Text, known};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TokenKind {
    Api,
    Session,
    Link,
    /// Got by a trusted publisher.
    Publisher,
}

impl TokenKind {
    /// The word in the table, and where tokens are listed.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Session => "session",
            Self::Link => "link",
            Self::Publisher => "publisher",
        }
    }
}

impl AsText for TokenKind {
    fn read(text: &str) -> Result<Self, String> {
        let kinds = [Self::Api, Self::Session, Self::Link, Self::Publisher];
        known(kinds.into_iter().find(|kind| kind.as_str() == text))
    }

    fn write(&self) -> String {
        self.as_str().to_owned()
    }
}

pub(crate) type TokenRow = Model;

#[derive(Debug, Clone, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "tokens")]
pub(crate) struct Model {
    #[sea_orm(primary_key)]
    pub(crate) id: i64,
    pub(crate) name: String,
    secret_sha256: String,
    pub(crate) role: Text<Role>,
    pub(crate) kind: Text<TokenKind>,
    /// The token it was got with: it ends with it.
    pub(crate) parent: Option<i64>,
    pub(crate) created_at: i64,
    pub(crate) expires_at: Option<i64>,
    pub(crate) used_at: Option<i64>,
    /// The product that it was given for; every publisher's token has one.
    pub(crate) product: Option<Text<ProductName>>,
    /// To whom it was given. A publisher's token without one is from before they were kept, and opens nothing.
    pub(crate) job: Option<Text<Job>>,
    /// Digest of the signed statement that it is given for, which no second token is given for.
    statement_sha256: Option<String>,
    revoked_at: Option<i64>,
}

#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

#[derive(Debug, Clone, Copy)]
pub(crate) struct NewToken<'a> {
    pub(crate) name: &'a str,
    pub(crate) role: Role,
    pub(crate) kind: TokenKind,
    pub(crate) parent: Option<i64>,
    pub(crate) expires_at: Option<i64>,
    /// What a publisher's token has besides.
    pub(crate) given: Option<Given<'a>>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Given<'a> {
    pub(crate) job: &'a Job,
    pub(crate) product: &'a ProductName,
    pub(crate) statement_sha256: &'a str,
}

fn of_kind(kind: TokenKind) -> Expr {
    Column::Kind.eq(Text(kind))
}

/// Tokens of publishers that hold still.
fn holding_publishers(now: i64) -> Expr {
    of_kind(TokenKind::Publisher).and(Column::RevokedAt.is_null()).and(Column::ExpiresAt.gt(now))
}

impl Db {
    /// The token of a secret, unless it has expired or was revoked.
    pub(crate) async fn token(&self, secret_sha256: &str, now: i64) -> Result<Option<TokenRow>, DbErr> {
        let holds = Column::ExpiresAt.is_null().or(Column::ExpiresAt.gt(now));
        Entity::find()
            .filter(Column::SecretSha256.eq(secret_sha256).and(Column::RevokedAt.is_null()).and(holds))
            .one(self.connection())
            .await
    }

    /// API tokens, and the tokens of publishers that hold still, by name.
    pub(crate) async fn listed_tokens(&self, now: i64) -> Result<Vec<TokenRow>, DbErr> {
        Entity::find()
            .filter(of_kind(TokenKind::Api).or(holding_publishers(now)))
            .order_by_asc(Column::Kind)
            .order_by_asc(Column::Name)
            .order_by_asc(Column::Id)
            .all(self.connection())
            .await
    }
}

impl Write {
    /// Makes a token. A duplicate error means that the name is taken, or that its statement was taken before.
    pub(crate) async fn insert_token(
        &self,
        token: NewToken<'_>,
        secret_sha256: &str,
        now: i64,
    ) -> Result<(), DbErr> {
        let given = token.given;
        let new = ActiveModel {
            id: ActiveValue::NotSet,
            name: Set(token.name.to_owned()),
            secret_sha256: Set(secret_sha256.to_owned()),
            role: Set(Text(token.role)),
            kind: Set(Text(token.kind)),
            parent: Set(token.parent),
            created_at: Set(now),
            expires_at: Set(token.expires_at),
            used_at: Set(None),
            product: Set(given.map(|given| Text(given.product.clone()))),
            job: Set(given.map(|given| Text(given.job.clone()))),
            statement_sha256: Set(given.map(|given| given.statement_sha256.to_owned())),
            revoked_at: Set(None),
        };
        Entity::insert(new).exec_without_returning(self.connection()).await.map(|_| ())
    }

    pub(crate) async fn set_used(&self, id: i64, now: i64) -> Result<(), DbErr> {
        let used = Entity::update_many().col_expr(Column::UsedAt, Expr::value(now)).filter(Column::Id.eq(id));
        used.exec(self.connection()).await.map(|_| ())
    }

    /// Ends an API token and the sessions got with it. Answers whether there was one.
    pub(crate) async fn remove_api_token(&self, name: &str) -> Result<bool, DbErr> {
        let of = of_kind(TokenKind::Api).and(Column::Name.eq(name));
        Ok(self.remove_tokens(of).await? > 0)
    }

    /// Ends the tokens of a publisher. Answers how many there were. Their rows stay until they would have ended, since
    /// they are what keeps a statement from being taken twice.
    pub(crate) async fn revoke_publisher_tokens(&self, name: &str, now: i64) -> Result<u64, DbErr> {
        let revoked = Entity::update_many()
            .col_expr(Column::RevokedAt, Expr::value(now))
            .filter(holding_publishers(now).and(Column::Name.eq(name)));
        Ok(revoked.exec(self.connection()).await?.rows_affected)
    }

    pub(crate) async fn remove_session(&self, secret_sha256: &str) -> Result<bool, DbErr> {
        let of = of_kind(TokenKind::Session).and(Column::SecretSha256.eq(secret_sha256));
        Ok(self.remove_tokens(of).await? > 0)
    }

    pub(crate) async fn remove_link(&self, id: i64) -> Result<bool, DbErr> {
        Ok(self.remove_tokens(of_kind(TokenKind::Link).and(Column::Id.eq(id))).await? > 0)
    }

    pub(crate) async fn remove_expired(&self, now: i64) -> Result<u64, DbErr> {
        self.remove_tokens(Column::ExpiresAt.lte(now)).await
    }

    async fn remove_tokens(&self, which: Expr) -> Result<u64, DbErr> {
        Ok(Entity::delete_many().filter(which).exec(self.connection()).await?.rows_affected)
    }
}
