-- The predecessor's sync_metadata as its servers have it, with rows in every table: written from facts/predecessor.md.
CREATE SCHEMA sync_metadata;
GRANT USAGE ON SCHEMA sync_metadata TO PUBLIC;
CREATE TABLE sync_metadata.hosts (
    host_id UUID PRIMARY KEY DEFAULT gen_random_uuid(), hostname VARCHAR(255) NOT NULL, ip_address INET,
    cluster_name VARCHAR(100) NOT NULL,
    status VARCHAR(20) DEFAULT 'active' CHECK (status IN ('active', 'maintenance', 'offline')),
    last_heartbeat TIMESTAMP DEFAULT now(), created_at TIMESTAMP DEFAULT now(), updated_at TIMESTAMP DEFAULT now(),
    metadata JSONB DEFAULT '{}', CONSTRAINT unique_hostname_cluster UNIQUE (hostname, cluster_name));
CREATE TABLE sync_metadata.client_deployments (
    deployment_id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    host_id UUID REFERENCES sync_metadata.hosts (host_id) ON DELETE CASCADE,
    client_name VARCHAR(100) NOT NULL, container_name VARCHAR(255) NOT NULL, fqdn VARCHAR(255), port INTEGER,
    database_type VARCHAR(20) DEFAULT 'sqlite' CHECK (database_type IN ('sqlite', 'postgresql')),
    sync_enabled BOOLEAN DEFAULT false, sync_interval INTEGER DEFAULT 300, last_sync_at TIMESTAMP,
    last_sync_status VARCHAR(20) CHECK (last_sync_status IN ('success', 'failed', 'running', 'pending')),
    next_sync_at TIMESTAMP,
    status VARCHAR(20) DEFAULT 'active' CHECK (status IN ('active', 'paused', 'migrating', 'stopped')),
    created_at TIMESTAMP DEFAULT now(), updated_at TIMESTAMP DEFAULT now(), config JSONB DEFAULT '{}',
    CONSTRAINT unique_client_name UNIQUE (client_name), CONSTRAINT unique_container_name UNIQUE (container_name));
CREATE TABLE sync_metadata.leader_election (
    cluster_name VARCHAR(100) PRIMARY KEY, leader_id VARCHAR(100) NOT NULL,
    leader_host_id UUID REFERENCES sync_metadata.hosts (host_id) ON DELETE CASCADE,
    acquired_at TIMESTAMP NOT NULL, expires_at TIMESTAMP NOT NULL, heartbeat_count INTEGER DEFAULT 0,
    CONSTRAINT valid_lease_duration CHECK (expires_at > acquired_at));
CREATE TABLE sync_metadata.conflict_log (
    log_id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    deployment_id UUID REFERENCES sync_metadata.client_deployments (deployment_id) ON DELETE CASCADE,
    client_name VARCHAR(100) NOT NULL, table_name VARCHAR(100) NOT NULL, record_id VARCHAR(255),
    conflict_type VARCHAR(50) NOT NULL CHECK (conflict_type IN
        ('update_conflict', 'delete_conflict', 'constraint_violation', 'type_mismatch', 'custom')),
    source_data JSONB, target_data JSONB,
    resolution_strategy VARCHAR(50) CHECK (resolution_strategy IN
        ('newest_wins', 'source_wins', 'target_wins', 'merge', 'manual')),
    resolved_data JSONB, detected_at TIMESTAMP DEFAULT now(), resolved_at TIMESTAMP, resolved_by VARCHAR(100),
    resolution_notes TEXT, sync_job_id UUID);
CREATE TABLE sync_metadata.cache_events (
    event_id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    host_id UUID REFERENCES sync_metadata.hosts (host_id) ON DELETE CASCADE, cache_key VARCHAR(255) NOT NULL,
    action VARCHAR(20) NOT NULL CHECK (action IN ('invalidate', 'refresh', 'delete')),
    created_at TIMESTAMP DEFAULT now(), processed_at TIMESTAMP, processed_by VARCHAR(100),
    CONSTRAINT future_processed CHECK (processed_at IS NULL OR processed_at >= created_at));
CREATE TABLE sync_metadata.sync_jobs (
    job_id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    deployment_id UUID REFERENCES sync_metadata.client_deployments (deployment_id) ON DELETE CASCADE,
    client_name VARCHAR(100) NOT NULL, started_at TIMESTAMP DEFAULT now(), completed_at TIMESTAMP,
    status VARCHAR(20) DEFAULT 'running' CHECK (status IN ('running', 'success', 'failed', 'cancelled')),
    tables_synced INTEGER DEFAULT 0, tables_total INTEGER, rows_synced INTEGER DEFAULT 0, rows_failed INTEGER DEFAULT 0,
    duration_seconds NUMERIC(10, 2), bytes_transferred BIGINT, error_message TEXT, error_details JSONB,
    conflicts_detected INTEGER DEFAULT 0, conflicts_resolved INTEGER DEFAULT 0, triggered_by VARCHAR(100),
    sync_type VARCHAR(20) DEFAULT 'incremental' CHECK (sync_type IN ('full', 'incremental', 'manual')),
    metadata JSONB DEFAULT '{}');
CREATE TABLE sync_metadata.sync_progress (
    progress_id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    job_id UUID REFERENCES sync_metadata.sync_jobs (job_id) ON DELETE CASCADE, table_name VARCHAR(100) NOT NULL,
    rows_total INTEGER, rows_processed INTEGER DEFAULT 0, rows_failed INTEGER DEFAULT 0,
    started_at TIMESTAMP DEFAULT now(), updated_at TIMESTAMP DEFAULT now(), completed_at TIMESTAMP,
    status VARCHAR(20) DEFAULT 'running' CHECK (status IN ('running', 'success', 'failed')), error_message TEXT,
    CONSTRAINT unique_job_table UNIQUE (job_id, table_name));

CREATE INDEX idx_hosts_cluster ON sync_metadata.hosts (cluster_name);
CREATE INDEX idx_hosts_status ON sync_metadata.hosts (status) WHERE status = 'active';
CREATE INDEX idx_sync_jobs_running ON sync_metadata.sync_jobs (started_at) WHERE status = 'running';

CREATE FUNCTION sync_metadata.update_updated_at_column() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN NEW.updated_at = now(); RETURN NEW; END $$;
CREATE FUNCTION sync_metadata.update_job_completion() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN NEW.completed_at = now(); RETURN NEW; END $$;
CREATE FUNCTION sync_metadata.grant_client_access(client_schema_name text) RETURNS text LANGUAGE sql AS
    $$ SELECT 'never raises'::text $$;
CREATE FUNCTION sync_metadata.set_sync_context(p_host_id uuid, p_hostname text DEFAULT NULL,
    p_cluster_name text DEFAULT NULL, p_client_name text DEFAULT NULL) RETURNS text LANGUAGE sql AS
    $$ SELECT set_config('app.current_client_name', p_client_name, false) $$;
CREATE TRIGGER update_hosts_updated_at BEFORE UPDATE ON sync_metadata.hosts
    FOR EACH ROW EXECUTE FUNCTION sync_metadata.update_updated_at_column();
CREATE TRIGGER update_sync_job_completion BEFORE UPDATE ON sync_metadata.sync_jobs
    FOR EACH ROW WHEN (OLD.status = 'running' AND NEW.status <> 'running')
    EXECUTE FUNCTION sync_metadata.update_job_completion();

CREATE VIEW sync_metadata.v_active_sync_jobs AS
    SELECT job_id, client_name, started_at FROM sync_metadata.sync_jobs WHERE status = 'running';
-- The production server's, which is in no file; it differs in its columns.
CREATE VIEW sync_metadata.v_cluster_health AS
    SELECT hostname, now() - last_heartbeat AS silent_for FROM sync_metadata.hosts;

GRANT SELECT ON ALL TABLES IN SCHEMA sync_metadata TO PUBLIC;
ALTER DEFAULT PRIVILEGES IN SCHEMA sync_metadata GRANT SELECT ON TABLES TO PUBLIC;
ALTER TABLE sync_metadata.client_deployments ENABLE ROW LEVEL SECURITY;
CREATE POLICY sync_deployment_isolation ON sync_metadata.client_deployments
    USING (client_name = current_setting('app.current_client_name', true));

INSERT INTO sync_metadata.hosts (host_id, hostname, ip_address, cluster_name, status, last_heartbeat, metadata) VALUES
    ('00000000-0000-0000-0000-0000000000a1', 'node-a', '10.0.0.1', 'prod', 'active', '2025-03-30 02:30:00.123456', '{"x": 1}'),
    ('00000000-0000-0000-0000-0000000000a2', 'node-b', NULL, 'prod', NULL, NULL, NULL);
INSERT INTO sync_metadata.client_deployments
    (deployment_id, host_id, client_name, container_name, fqdn, port, sync_enabled, last_sync_at, last_sync_status, config)
VALUES
    ('00000000-0000-0000-0000-0000000000c1', '00000000-0000-0000-0000-0000000000a1', 'acme-co', 'openwebui-acme-co',
     'chat.acme.example', 8081, true, '2025-10-26 01:30:00', 'success', '{"tables": ["user"]}'),
    ('00000000-0000-0000-0000-0000000000c2', NULL, 'beta', 'openwebui-beta', NULL, NULL, false, NULL, NULL, NULL);
INSERT INTO sync_metadata.leader_election VALUES
    ('prod', 'node-a', '00000000-0000-0000-0000-0000000000a1', '2025-06-01 10:00:00', '2025-06-01 10:01:00', 7);
INSERT INTO sync_metadata.sync_jobs
    (job_id, deployment_id, client_name, started_at, completed_at, status, rows_synced, duration_seconds, error_details) VALUES
    ('00000000-0000-0000-0000-0000000000d1', '00000000-0000-0000-0000-0000000000c1', 'acme-co', '2025-06-01 10:00:00',
     '2025-06-01 10:00:05', 'success', 42, 5.25, NULL),
    ('00000000-0000-0000-0000-0000000000d2', NULL, 'gone-client', '2025-06-01 11:00:00', NULL, 'failed', 0, NULL, '{"e": "x"}'),
    ('00000000-0000-0000-0000-0000000000d3', '00000000-0000-0000-0000-0000000000c2', 'beta', '2025-06-02 10:00:00', NULL,
     'running', 0, NULL, NULL);
INSERT INTO sync_metadata.sync_progress (progress_id, job_id, table_name, rows_total, completed_at, status) VALUES
    ('00000000-0000-0000-0000-0000000000e1', '00000000-0000-0000-0000-0000000000d1', 'user', 42, '2025-06-01 10:00:04', 'success'),
    ('00000000-0000-0000-0000-0000000000e2', NULL, 'chat', NULL, NULL, 'running');
INSERT INTO sync_metadata.conflict_log
    (log_id, deployment_id, client_name, table_name, record_id, conflict_type, source_data, resolution_strategy, detected_at) VALUES
    ('00000000-0000-0000-0000-0000000000f1', '00000000-0000-0000-0000-0000000000c1', 'acme-co', 'user', 'u1',
     'update_conflict', '{"name": "Zoë"}', 'newest_wins', '2025-06-01 10:00:01'),
    ('00000000-0000-0000-0000-0000000000f2', NULL, 'gone-client', 'chat', NULL, 'custom', NULL, NULL, '2025-06-01 10:00:02');
INSERT INTO sync_metadata.cache_events (event_id, host_id, cache_key, action, created_at, processed_at) VALUES
    ('00000000-0000-0000-0000-0000000000b1', '00000000-0000-0000-0000-0000000000a1', 'acme-co:user', 'invalidate',
     '2025-06-01 10:00:00', '2025-06-01 10:00:01'),
    ('00000000-0000-0000-0000-0000000000b2', NULL, 'beta:chat', 'refresh', NULL, NULL);
