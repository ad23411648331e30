//! Why a CI job's signed statement gets no token.

crate::entry::table! {
    TOKEN_TOO_LONG "token_too_long" "The token has {size} bytes, and at most {most} are read.";
    TOKEN_PARTS "token_parts" "This is not an OIDC token: it does not have three parts with dots between.";
    TOKEN_HEADER "token_header" "This is not an OIDC token: its header cannot be read.";
    TOKEN_WITHOUT_KEY "token_without_key" "This is not an OIDC token: its header names no key (kid).";
    TOKEN_CLAIMS "token_claims" "This is not an OIDC token: its claims cannot be read.";
    TOKEN_SIGNATURE "token_signature" "This is not an OIDC token: its signature cannot be read.";
    TOKEN_CRITICAL "token_critical" "This is not an OIDC token: its header demands an extension (crit), and none is known here.";
    WRONG_SIGNATURE "wrong_signature" "The token's signature is wrong: it was not made with the key {key} of {issuer}, or the token was changed afterwards.";
    TOKEN_UNSIGNED "token_unsigned" "The token is unsigned (alg is none), and only what the issuer signed with RS256 or ES256 is taken.";
    TOKEN_ALGORITHM "token_algorithm" "The token is signed with {algorithm}, and only RS256 and ES256 are taken.";
    OTHER_AUDIENCE "other_audience" "The token is for the audience (aud) {audience}, and this server takes tokens for {server} only, its http.public_url.";
    NO_AUDIENCE "no_audience" "The token names no audience (aud), and this server takes tokens for {server} only, its http.public_url.";
    NO_EXPIRY "no_expiry" "The token has no time of expiry (exp).";
    NO_ISSUE_TIME "no_issue_time" "The token does not say when it was issued (iat).";
    BEGIN_UNREADABLE "begin_unreadable" "The token's begin (nbf) cannot be read.";
    TOKEN_EXPIRED "token_expired" "The token has expired: it ended (exp) at {at}, and it is {now} here. Ask the CI system for a new one.";
    NOT_YET_VALID "not_yet_valid" "The token is not yet valid: it begins (nbf, iat) at {at}, and it is {now} here. One of the two clocks is wrong.";
    TOKEN_TOO_OLD "token_too_old" "The token is too old: it was issued (iat) at {at}, and it is {now} here, and at most {minutes} minutes are taken. Ask the CI system for a new one.";
    UNKNOWN_REPOSITORY "unknown_repository" "The token is of a job in the repository {repository}, which no [[trusted_publisher]] of this server names.";
    JOB_NOT_TRUSTED "job_not_trusted" "{repository} may not publish with this job: {reasons}.";
    PRODUCT_NOT_TRUSTED "product_not_trusted" "{repository} is trusted with {products}, and not with {asked}.";
    PRODUCT_NOT_NAMED "product_not_named" "{repository} is trusted with several products: say which of {products} it is (\"product\").";
}
