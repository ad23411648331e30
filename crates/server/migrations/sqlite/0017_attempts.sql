-- Whether a success stands on the device's word alone: no report of the target followed.
ALTER TABLE updates ADD COLUMN believed BIGINT NOT NULL DEFAULT 0;
-- When an update ends that waits for its device, or for what it asked: the time until which it is kept.
ALTER TABLE updates ADD COLUMN expires_at BIGINT;
-- A device that said "not now": until when it is left alone, and when it first said so.
ALTER TABLE updates ADD COLUMN deferred_until BIGINT;
ALTER TABLE updates ADD COLUMN deferred_since BIGINT;
CREATE INDEX updates_deferred ON updates (deferred_until) WHERE state = 'deferred';
-- Two devices that use one id: what was reported before the present version, how often that came back, and when last.
ALTER TABLE devices ADD COLUMN version_before TEXT;
ALTER TABLE devices ADD COLUMN returns BIGINT NOT NULL DEFAULT 0;
ALTER TABLE devices ADD COLUMN returned_at BIGINT;
-- The group that a device is in, and what it is pinned to: a version, or 'hold'; by whom and why.
ALTER TABLE devices ADD COLUMN group_name TEXT;
ALTER TABLE devices ADD COLUMN pin TEXT;
ALTER TABLE devices ADD COLUMN pin_by TEXT;
ALTER TABLE devices ADD COLUMN pin_why TEXT;
CREATE INDEX devices_group ON devices (group_name, id) WHERE group_name IS NOT NULL;
CREATE INDEX devices_pin ON devices (pin, id) WHERE pin IS NOT NULL;
