-- Who did what, and what happened to updates: both are only added to.
CREATE TABLE audit (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at BIGINT NOT NULL,
    actor_kind TEXT NOT NULL,
    actor TEXT NOT NULL,
    address TEXT,
    action TEXT NOT NULL,
    subject_kind TEXT NOT NULL,
    subject TEXT NOT NULL,
    before TEXT,
    after TEXT
);
CREATE INDEX audit_actor ON audit (actor, id);
CREATE INDEX audit_action ON audit (action, id);
CREATE INDEX audit_subject ON audit (subject, id);
ALTER TABLE updates ADD COLUMN event_count BIGINT NOT NULL DEFAULT 0;
CREATE TABLE update_events (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    update_id BIGINT NOT NULL REFERENCES updates (id) ON DELETE CASCADE,
    at BIGINT NOT NULL,
    kind TEXT NOT NULL,
    actor_kind TEXT NOT NULL,
    actor TEXT NOT NULL,
    from_state TEXT,
    to_state TEXT NOT NULL,
    reason TEXT NOT NULL,
    cause TEXT,
    phase TEXT,
    done BIGINT NOT NULL
);
CREATE INDEX update_events_update ON update_events (update_id, id);
CREATE INDEX update_events_at ON update_events (at);
