-- Digests of the audit's entries, each with that of the seal before: only added to.
CREATE TABLE audit_seals (
    id BIGINT PRIMARY KEY,
    up_to BIGINT NOT NULL,
    entries BIGINT NOT NULL,
    at BIGINT NOT NULL,
    digest TEXT NOT NULL
);
