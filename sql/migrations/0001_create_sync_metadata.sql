-- The predecessor's tables under the predecessor's names. Where they are there already, with rows in them, they are
-- taken over as they stand: what is missing is made, and what differs ends the migration before anything has changed.
-- The views come with 0002, since times that change their type would have to drop them again.

CREATE SCHEMA IF NOT EXISTS sync_metadata;

CREATE TABLE sync_metadata.schema_migrations (
    version    integer PRIMARY KEY,
    name       text NOT NULL,
    checksum   text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE IF NOT EXISTS sync_metadata.hosts (
    host_id        uuid NOT NULL,
    hostname       varchar(255) NOT NULL,
    ip_address     inet,
    cluster_name   varchar(100) NOT NULL,
    status         varchar(20),
    last_heartbeat timestamp,
    created_at     timestamp,
    updated_at     timestamp,
    metadata       jsonb
);

CREATE TABLE IF NOT EXISTS sync_metadata.client_deployments (
    deployment_id    uuid NOT NULL,
    host_id          uuid,
    client_name      varchar(100) NOT NULL,
    container_name   varchar(255) NOT NULL,
    fqdn             varchar(255),
    port             integer,
    database_type    varchar(20),
    sync_enabled     boolean,
    sync_interval    integer,
    last_sync_at     timestamp,
    last_sync_status varchar(20),
    next_sync_at     timestamp,
    status           varchar(20),
    created_at       timestamp,
    updated_at       timestamp,
    config           jsonb
);

CREATE TABLE IF NOT EXISTS sync_metadata.leader_election (
    cluster_name    varchar(100) NOT NULL,
    leader_id       varchar(100) NOT NULL,
    leader_host_id  uuid,
    acquired_at     timestamp NOT NULL,
    expires_at      timestamp NOT NULL,
    heartbeat_count integer
);

CREATE TABLE IF NOT EXISTS sync_metadata.conflict_log (
    log_id              uuid NOT NULL,
    deployment_id       uuid,
    client_name         varchar(100) NOT NULL,
    table_name          varchar(100) NOT NULL,
    record_id           varchar(255),
    conflict_type       varchar(50) NOT NULL,
    source_data         jsonb,
    target_data         jsonb,
    resolution_strategy varchar(50),
    resolved_data       jsonb,
    detected_at         timestamp,
    resolved_at         timestamp,
    resolved_by         varchar(100),
    resolution_notes    text,
    sync_job_id         uuid
);

CREATE TABLE IF NOT EXISTS sync_metadata.cache_events (
    event_id     uuid NOT NULL,
    host_id      uuid,
    cache_key    varchar(255) NOT NULL,
    action       varchar(20) NOT NULL,
    created_at   timestamp,
    processed_at timestamp,
    processed_by varchar(100)
);

CREATE TABLE IF NOT EXISTS sync_metadata.sync_jobs (
    job_id             uuid NOT NULL,
    deployment_id      uuid,
    client_name        varchar(100) NOT NULL,
    started_at         timestamp,
    completed_at       timestamp,
    status             varchar(20),
    tables_synced      integer,
    tables_total       integer,
    rows_synced        integer,
    rows_failed        integer,
    duration_seconds   numeric(10, 2),
    bytes_transferred  bigint,
    error_message      text,
    error_details      jsonb,
    conflicts_detected integer,
    conflicts_resolved integer,
    triggered_by       varchar(100),
    sync_type          varchar(20),
    metadata           jsonb
);

CREATE TABLE IF NOT EXISTS sync_metadata.sync_progress (
    progress_id    uuid NOT NULL,
    job_id         uuid,
    table_name     varchar(100) NOT NULL,
    rows_total     integer,
    rows_processed integer,
    rows_failed    integer,
    started_at     timestamp,
    updated_at     timestamp,
    completed_at   timestamp,
    status         varchar(20),
    error_message  text
);

-- A table that was there must hold every column with its type; more columns are its own affair and stay. Lengths of
-- text, wider integers and times that know their zone are no difference.
CREATE TEMPORARY TABLE expected_column (table_name text, types text, names text[]) ON COMMIT DROP;

INSERT INTO pg_temp.expected_column VALUES
    ('hosts', 'uuid', '{host_id}'),
    ('hosts', 'text', '{hostname,cluster_name,status}'),
    ('hosts', 'inet', '{ip_address}'),
    ('hosts', 'time', '{last_heartbeat,created_at,updated_at}'),
    ('hosts', 'jsonb', '{metadata}'),
    ('client_deployments', 'uuid', '{deployment_id,host_id}'),
    ('client_deployments', 'text',
     '{client_name,container_name,fqdn,database_type,last_sync_status,status}'),
    ('client_deployments', 'integer', '{port,sync_interval}'),
    ('client_deployments', 'boolean', '{sync_enabled}'),
    ('client_deployments', 'time', '{last_sync_at,next_sync_at,created_at,updated_at}'),
    ('client_deployments', 'jsonb', '{config}'),
    ('leader_election', 'text', '{cluster_name,leader_id}'),
    ('leader_election', 'uuid', '{leader_host_id}'),
    ('leader_election', 'time', '{acquired_at,expires_at}'),
    ('leader_election', 'integer', '{heartbeat_count}'),
    ('conflict_log', 'uuid', '{log_id,deployment_id,sync_job_id}'),
    ('conflict_log', 'text',
     '{client_name,table_name,record_id,conflict_type,resolution_strategy,resolved_by,resolution_notes}'),
    ('conflict_log', 'jsonb', '{source_data,target_data,resolved_data}'),
    ('conflict_log', 'time', '{detected_at,resolved_at}'),
    ('cache_events', 'uuid', '{event_id,host_id}'),
    ('cache_events', 'text', '{cache_key,action,processed_by}'),
    ('cache_events', 'time', '{created_at,processed_at}'),
    ('sync_jobs', 'uuid', '{job_id,deployment_id}'),
    ('sync_jobs', 'text', '{client_name,status,error_message,triggered_by,sync_type}'),
    ('sync_jobs', 'time', '{started_at,completed_at}'),
    ('sync_jobs', 'integer',
     '{tables_synced,tables_total,rows_synced,rows_failed,bytes_transferred,conflicts_detected,conflicts_resolved}'),
    ('sync_jobs', 'numeric', '{duration_seconds}'),
    ('sync_jobs', 'jsonb', '{error_details,metadata}'),
    ('sync_progress', 'uuid', '{progress_id,job_id}'),
    ('sync_progress', 'text', '{table_name,status,error_message}'),
    ('sync_progress', 'integer', '{rows_total,rows_processed,rows_failed}'),
    ('sync_progress', 'time', '{started_at,updated_at,completed_at}');

DO $$
DECLARE
    faults text;
BEGIN
    SELECT string_agg(format('%s.%s is %s, not %s', e.table_name, c.name, coalesce(f.type, 'missing'), e.types), '; '
                      ORDER BY e.table_name, c.name)
      INTO faults
      FROM pg_temp.expected_column AS e
           CROSS JOIN LATERAL unnest(e.names) AS c (name)
           LEFT JOIN LATERAL (
               SELECT format_type(a.atttypid, NULL) AS type
                 FROM pg_attribute AS a
                WHERE a.attrelid = format('sync_metadata.%I', e.table_name)::regclass
                  AND a.attname = c.name AND a.attnum > 0 AND NOT a.attisdropped
           ) AS f ON true
     WHERE coalesce(CASE
                        WHEN f.type IN ('character varying', 'text') THEN 'text'
                        WHEN f.type IN ('integer', 'bigint') THEN 'integer'
                        WHEN f.type IN ('timestamp without time zone', 'timestamp with time zone') THEN 'time'
                        ELSE f.type
                    END, 'missing') <> e.types;
    IF faults IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'CM001', MESSAGE = faults;
    END IF;
END
$$;

ALTER TABLE sync_metadata.hosts
    ALTER COLUMN host_id SET DEFAULT gen_random_uuid(),
    ALTER COLUMN status SET DEFAULT 'active',
    ALTER COLUMN last_heartbeat SET DEFAULT now(),
    ALTER COLUMN created_at SET DEFAULT now(),
    ALTER COLUMN updated_at SET DEFAULT now(),
    ALTER COLUMN metadata SET DEFAULT '{}';

ALTER TABLE sync_metadata.client_deployments
    ALTER COLUMN deployment_id SET DEFAULT gen_random_uuid(),
    ALTER COLUMN database_type SET DEFAULT 'sqlite',
    ALTER COLUMN sync_enabled SET DEFAULT false,
    ALTER COLUMN sync_interval SET DEFAULT 300,
    ALTER COLUMN status SET DEFAULT 'active',
    ALTER COLUMN created_at SET DEFAULT now(),
    ALTER COLUMN updated_at SET DEFAULT now(),
    ALTER COLUMN config SET DEFAULT '{}';

ALTER TABLE sync_metadata.leader_election
    ALTER COLUMN heartbeat_count SET DEFAULT 0;

ALTER TABLE sync_metadata.conflict_log
    ALTER COLUMN log_id SET DEFAULT gen_random_uuid(),
    ALTER COLUMN detected_at SET DEFAULT now();

ALTER TABLE sync_metadata.cache_events
    ALTER COLUMN event_id SET DEFAULT gen_random_uuid(),
    ALTER COLUMN created_at SET DEFAULT now();

ALTER TABLE sync_metadata.sync_jobs
    ALTER COLUMN job_id SET DEFAULT gen_random_uuid(),
    ALTER COLUMN started_at SET DEFAULT now(),
    ALTER COLUMN status SET DEFAULT 'running',
    ALTER COLUMN tables_synced SET DEFAULT 0,
    ALTER COLUMN rows_synced SET DEFAULT 0,
    ALTER COLUMN rows_failed SET DEFAULT 0,
    ALTER COLUMN conflicts_detected SET DEFAULT 0,
    ALTER COLUMN conflicts_resolved SET DEFAULT 0,
    ALTER COLUMN sync_type SET DEFAULT 'incremental',
    ALTER COLUMN metadata SET DEFAULT '{}';

ALTER TABLE sync_metadata.sync_progress
    ALTER COLUMN progress_id SET DEFAULT gen_random_uuid(),
    ALTER COLUMN rows_processed SET DEFAULT 0,
    ALTER COLUMN rows_failed SET DEFAULT 0,
    ALTER COLUMN started_at SET DEFAULT now(),
    ALTER COLUMN updated_at SET DEFAULT now(),
    ALTER COLUMN status SET DEFAULT 'running';

-- Keys and references that are there stay; rules are made again, so that they are these whatever they were.
DO $$
DECLARE
    item record;
BEGIN
    FOR item IN
        SELECT * FROM (VALUES
            ('hosts', 'hosts_pkey', 'PRIMARY KEY (host_id)'),
            ('hosts', 'unique_hostname_cluster', 'UNIQUE (hostname, cluster_name)'),
            ('hosts', 'hosts_status_check', $c$CHECK (status IN ('active', 'maintenance', 'offline'))$c$),
            ('client_deployments', 'client_deployments_pkey', 'PRIMARY KEY (deployment_id)'),
            ('client_deployments', 'unique_client_name', 'UNIQUE (client_name)'),
            ('client_deployments', 'unique_container_name', 'UNIQUE (container_name)'),
            ('client_deployments', 'client_deployments_database_type_check',
             $c$CHECK (database_type IN ('sqlite', 'postgresql'))$c$),
            ('client_deployments', 'client_deployments_last_sync_status_check',
             $c$CHECK (last_sync_status IN ('success', 'failed', 'running', 'pending'))$c$),
            ('client_deployments', 'client_deployments_status_check',
             $c$CHECK (status IN ('active', 'paused', 'migrating', 'stopped'))$c$),
            ('leader_election', 'leader_election_pkey', 'PRIMARY KEY (cluster_name)'),
            ('leader_election', 'valid_lease_duration', 'CHECK (expires_at > acquired_at)'),
            ('conflict_log', 'conflict_log_pkey', 'PRIMARY KEY (log_id)'),
            ('conflict_log', 'conflict_log_conflict_type_check',
             $c$CHECK (conflict_type IN ('update_conflict', 'delete_conflict', 'constraint_violation', 'type_mismatch',
                                         'custom'))$c$),
            ('conflict_log', 'conflict_log_resolution_strategy_check',
             $c$CHECK (resolution_strategy IN ('newest_wins', 'source_wins', 'target_wins', 'merge', 'manual'))$c$),
            ('cache_events', 'cache_events_pkey', 'PRIMARY KEY (event_id)'),
            ('cache_events', 'cache_events_action_check',
             $c$CHECK (action IN ('invalidate', 'refresh', 'delete'))$c$),
            ('cache_events', 'future_processed', 'CHECK (processed_at IS NULL OR processed_at >= created_at)'),
            ('sync_jobs', 'sync_jobs_pkey', 'PRIMARY KEY (job_id)'),
            ('sync_jobs', 'sync_jobs_status_check',
             $c$CHECK (status IN ('running', 'success', 'failed', 'cancelled'))$c$),
            ('sync_jobs', 'sync_jobs_sync_type_check',
             $c$CHECK (sync_type IN ('full', 'incremental', 'manual'))$c$),
            ('sync_progress', 'sync_progress_pkey', 'PRIMARY KEY (progress_id)'),
            ('sync_progress', 'unique_job_table', 'UNIQUE (job_id, table_name)'),
            ('sync_progress', 'sync_progress_status_check',
             $c$CHECK (status IN ('running', 'success', 'failed'))$c$),
            ('client_deployments', 'client_deployments_host_id_fkey',
             'FOREIGN KEY (host_id) REFERENCES sync_metadata.hosts ON DELETE CASCADE'),
            ('leader_election', 'leader_election_leader_host_id_fkey',
             'FOREIGN KEY (leader_host_id) REFERENCES sync_metadata.hosts ON DELETE CASCADE'),
            ('conflict_log', 'conflict_log_deployment_id_fkey',
             'FOREIGN KEY (deployment_id) REFERENCES sync_metadata.client_deployments ON DELETE CASCADE'),
            ('cache_events', 'cache_events_host_id_fkey',
             'FOREIGN KEY (host_id) REFERENCES sync_metadata.hosts ON DELETE CASCADE'),
            ('sync_jobs', 'sync_jobs_deployment_id_fkey',
             'FOREIGN KEY (deployment_id) REFERENCES sync_metadata.client_deployments ON DELETE CASCADE'),
            ('sync_progress', 'sync_progress_job_id_fkey',
             'FOREIGN KEY (job_id) REFERENCES sync_metadata.sync_jobs ON DELETE CASCADE')
        ) AS expected (table_name, name, definition)
    LOOP
        IF item.definition LIKE 'CHECK%' THEN
            EXECUTE format('ALTER TABLE sync_metadata.%I DROP CONSTRAINT IF EXISTS %I', item.table_name, item.name);
        END IF;
        IF NOT EXISTS (SELECT FROM pg_constraint
                        WHERE conrelid = format('sync_metadata.%I', item.table_name)::regclass
                          AND conname = item.name) THEN
            EXECUTE format('ALTER TABLE sync_metadata.%I ADD CONSTRAINT %I %s',
                           item.table_name, item.name, item.definition);
        END IF;
    END LOOP;
END
$$;

-- An index holds nothing of its own: one of the same name with another meaning gives way.
DROP INDEX IF EXISTS
    sync_metadata.idx_hosts_cluster, sync_metadata.idx_hosts_status, sync_metadata.idx_hosts_heartbeat,
    sync_metadata.idx_deployments_host, sync_metadata.idx_deployments_sync_enabled,
    sync_metadata.idx_deployments_next_sync, sync_metadata.idx_deployments_status,
    sync_metadata.idx_leader_expires, sync_metadata.idx_leader_host,
    sync_metadata.idx_conflicts_deployment, sync_metadata.idx_conflicts_client, sync_metadata.idx_conflicts_table,
    sync_metadata.idx_conflicts_unresolved, sync_metadata.idx_conflicts_type,
    sync_metadata.idx_cache_events_host, sync_metadata.idx_cache_events_unprocessed, sync_metadata.idx_cache_events_key,
    sync_metadata.idx_sync_jobs_deployment, sync_metadata.idx_sync_jobs_client, sync_metadata.idx_sync_jobs_status,
    sync_metadata.idx_sync_jobs_running,
    sync_metadata.idx_sync_progress_job, sync_metadata.idx_sync_progress_running;

CREATE INDEX idx_hosts_cluster ON sync_metadata.hosts (cluster_name);
CREATE INDEX idx_hosts_status ON sync_metadata.hosts (status) WHERE status = 'active';
CREATE INDEX idx_hosts_heartbeat ON sync_metadata.hosts (last_heartbeat);
CREATE INDEX idx_deployments_host ON sync_metadata.client_deployments (host_id);
CREATE INDEX idx_deployments_sync_enabled ON sync_metadata.client_deployments (sync_enabled) WHERE sync_enabled;
CREATE INDEX idx_deployments_next_sync ON sync_metadata.client_deployments (next_sync_at) WHERE sync_enabled;
CREATE INDEX idx_deployments_status ON sync_metadata.client_deployments (status);
CREATE INDEX idx_leader_expires ON sync_metadata.leader_election (expires_at);
CREATE INDEX idx_leader_host ON sync_metadata.leader_election (leader_host_id);
CREATE INDEX idx_conflicts_deployment ON sync_metadata.conflict_log (deployment_id);
CREATE INDEX idx_conflicts_client ON sync_metadata.conflict_log (client_name, detected_at DESC);
CREATE INDEX idx_conflicts_table ON sync_metadata.conflict_log (table_name);
CREATE INDEX idx_conflicts_unresolved ON sync_metadata.conflict_log (detected_at) WHERE resolved_at IS NULL;
CREATE INDEX idx_conflicts_type ON sync_metadata.conflict_log (conflict_type);
CREATE INDEX idx_cache_events_host ON sync_metadata.cache_events (host_id);
CREATE INDEX idx_cache_events_unprocessed ON sync_metadata.cache_events (host_id, processed_at, created_at)
    WHERE processed_at IS NULL;
CREATE INDEX idx_cache_events_key ON sync_metadata.cache_events (cache_key);
CREATE INDEX idx_sync_jobs_deployment ON sync_metadata.sync_jobs (deployment_id);
CREATE INDEX idx_sync_jobs_client ON sync_metadata.sync_jobs (client_name, started_at DESC);
CREATE INDEX idx_sync_jobs_status ON sync_metadata.sync_jobs (status, started_at DESC);
CREATE INDEX idx_sync_jobs_running ON sync_metadata.sync_jobs (started_at) WHERE status = 'running';
CREATE INDEX idx_sync_progress_job ON sync_metadata.sync_progress (job_id);
CREATE INDEX idx_sync_progress_running ON sync_metadata.sync_progress (job_id) WHERE status = 'running';

DROP TRIGGER IF EXISTS update_hosts_updated_at ON sync_metadata.hosts;
DROP TRIGGER IF EXISTS update_deployments_updated_at ON sync_metadata.client_deployments;
DROP TRIGGER IF EXISTS update_sync_progress_updated_at ON sync_metadata.sync_progress;
DROP TRIGGER IF EXISTS update_sync_job_completion ON sync_metadata.sync_jobs;

CREATE OR REPLACE FUNCTION sync_metadata.update_updated_at_column() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    NEW.updated_at := now();
    RETURN NEW;
END
$$;

CREATE OR REPLACE FUNCTION sync_metadata.update_job_completion() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    IF OLD.status = 'running' AND NEW.status IN ('success', 'failed', 'cancelled') THEN
        NEW.completed_at := coalesce(NEW.completed_at, now());
        NEW.duration_seconds := extract(epoch FROM NEW.completed_at - NEW.started_at);
    END IF;
    RETURN NEW;
END
$$;

CREATE TRIGGER update_hosts_updated_at BEFORE UPDATE ON sync_metadata.hosts
    FOR EACH ROW EXECUTE FUNCTION sync_metadata.update_updated_at_column();
CREATE TRIGGER update_deployments_updated_at BEFORE UPDATE ON sync_metadata.client_deployments
    FOR EACH ROW EXECUTE FUNCTION sync_metadata.update_updated_at_column();
CREATE TRIGGER update_sync_progress_updated_at BEFORE UPDATE ON sync_metadata.sync_progress
    FOR EACH ROW EXECUTE FUNCTION sync_metadata.update_updated_at_column();
CREATE TRIGGER update_sync_job_completion BEFORE UPDATE ON sync_metadata.sync_jobs
    FOR EACH ROW EXECUTE FUNCTION sync_metadata.update_job_completion();
