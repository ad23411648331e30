-- Whether the trigger of a device's newest update is to be sent: 1, once the device is there; 2, despite silence.
ALTER TABLE devices ADD COLUMN waiting BIGINT NOT NULL DEFAULT 0;
UPDATE devices SET waiting = (SELECT CASE WHEN forced THEN 2 ELSE 1 END FROM updates WHERE id = update_id)
    WHERE update_id IN (SELECT id FROM updates
        WHERE triggered_at IS NULL AND state IN ('offered', 'downloading', 'restarting'));
CREATE INDEX devices_waiting ON devices (online_epoch, id) WHERE waiting = 1;
CREATE INDEX devices_forced ON devices (id) WHERE waiting = 2;
DROP INDEX updates_untriggered;
