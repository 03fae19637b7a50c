-- name: select_table
-- Nothing is applied where the table of what is applied is not there.
SELECT to_regclass('sync_metadata.schema_migrations') IS NOT NULL;

-- name: select_applied
-- What is applied, in order.
SELECT version, name, checksum, applied_at FROM sync_metadata.schema_migrations ORDER BY version;

-- name: insert_applied
-- Written in the transaction of the migration itself: both are there, or neither.
INSERT INTO sync_metadata.schema_migrations (version, name, checksum)
VALUES (%(version)s, %(name)s, %(checksum)s);

-- name: take_lock
-- One migration at a time; the lock ends with the transaction, which is all that a transaction pooler lets it do.
SELECT pg_advisory_xact_lock(hashtextextended('client-manager sync_metadata', 0));

-- name: select_server
-- What the operator is shown of the server.
SELECT current_setting('server_version_num')::integer, current_setting('server_version'),
       current_setting('transaction_read_only') = 'on';
