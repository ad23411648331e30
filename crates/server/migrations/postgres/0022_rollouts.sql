-- Rollouts. `request` is what was asked for; `is_open` is true as long as there is something to do for it: while it runs or is
-- paused, while somebody waits who was offline, and until a halted one's version is blocked and what was not sent is withdrawn.
CREATE TABLE rollouts (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    product TEXT COLLATE "C" NOT NULL,
    version TEXT NOT NULL,
    object_key TEXT NOT NULL,
    request TEXT NOT NULL,
    state TEXT COLLATE "C" NOT NULL,
    is_open BOOLEAN NOT NULL,
    step BIGINT NOT NULL,
    opened BIGINT NOT NULL,
    soak_until BIGINT,
    cause TEXT,
    is_blocked BOOLEAN NOT NULL,
    left_out TEXT NOT NULL,
    created_by TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    finished_at BIGINT
);
CREATE INDEX rollouts_product ON rollouts (product, id);
CREATE INDEX rollouts_open ON rollouts (id) WHERE is_open;
-- Their devices. `state` is `waiting`, or that of the update which the rollout made for the device; `cause` says why it got none.
CREATE TABLE rollout_devices (
    rollout BIGINT NOT NULL REFERENCES rollouts (id) ON DELETE CASCADE,
    device TEXT COLLATE "C" NOT NULL REFERENCES devices (id) ON DELETE CASCADE,
    step BIGINT NOT NULL,
    state TEXT COLLATE "C" NOT NULL,
    update_id BIGINT,
    cause TEXT,
    PRIMARY KEY (rollout, device)
);
CREATE INDEX rollout_devices_state ON rollout_devices (rollout, state, step, device);
CREATE INDEX rollout_devices_device ON rollout_devices (device, rollout);
-- Which rollout an update is of; `toward` is its version where this is only a step on the way.
ALTER TABLE updates ADD COLUMN rollout BIGINT;
ALTER TABLE updates ADD COLUMN toward TEXT;
-- How long an update may be silent; 0 is fleet.update_timeout_s.
ALTER TABLE updates ADD COLUMN timeout_s BIGINT NOT NULL DEFAULT 0;
-- The rollout that looks for this device: it waits in a step that has begun.
ALTER TABLE devices ADD COLUMN rollout BIGINT;
CREATE INDEX devices_rollout ON devices (rollout, online_epoch, id) WHERE rollout IS NOT NULL;
DROP INDEX updates_silent;
CREATE INDEX updates_silent ON updates (timeout_s, heard_at) WHERE state IN ('offered', 'downloading', 'restarting');
