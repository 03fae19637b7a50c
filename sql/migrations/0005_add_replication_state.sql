-- How far each client's replica is, written in the transaction that writes its rows; and the values that PostgreSQL
-- cannot hold as they are, with their bytes.

CREATE TABLE sync_metadata.replication_state (
    client_name         text PRIMARY KEY,
    generation          bigint NOT NULL DEFAULT 0,
    fence               bigint NOT NULL DEFAULT 0,
    mark                jsonb,
    schema_fingerprint  text,
    verified_at         timestamptz,
    status              text NOT NULL DEFAULT 'new'
        CHECK (status IN ('new', 'ok', 'needs_confirmation', 'source_missing', 'source_corrupt', 'source_replaced',
                          'source_busy', 'source_migrating', 'failed')),
    reason              text,
    conflict_strategies jsonb NOT NULL DEFAULT '{}',
    updated_at          timestamptz NOT NULL DEFAULT now()
);

CREATE TRIGGER update_replication_state_updated_at BEFORE UPDATE ON sync_metadata.replication_state
    FOR EACH ROW EXECUTE FUNCTION sync_metadata.update_updated_at_column();

CREATE TABLE sync_metadata.quarantine (
    entry_id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    client_name text NOT NULL,
    table_name  text NOT NULL,
    row_key     text NOT NULL,
    column_name text,
    sqlite_type text NOT NULL CHECK (sqlite_type IN ('null', 'integer', 'real', 'text', 'blob', 'row')),
    raw         bytea NOT NULL,
    kind        text NOT NULL CHECK (kind IN ('quarantined', 'converted')),
    reason      text NOT NULL,
    generation  bigint NOT NULL,
    noticed_at  timestamptz NOT NULL DEFAULT now()
);

-- A row's key may be as long as its text, and an index entry may not.
CREATE INDEX idx_quarantine_row ON sync_metadata.quarantine (client_name, table_name, md5(row_key));
