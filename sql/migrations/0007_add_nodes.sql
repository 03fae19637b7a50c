-- A cluster is one machine and the nodes on it. A host's row is the machine; its nodes have rows of their own. The
-- lease carries a term, which only grows and which every write is fenced by. The predecessor's rows, a host for each
-- node, stay as they are.

ALTER TABLE sync_metadata.leader_election
    ADD COLUMN term             bigint NOT NULL DEFAULT 0,
    ADD COLUMN leader_name      varchar(100),
    ADD COLUMN backend_pid      integer,
    ADD COLUMN wanted_name      varchar(100),
    ADD COLUMN wanted_at        timestamptz;

CREATE TABLE sync_metadata.sync_nodes (
    cluster_name       varchar(100) NOT NULL,
    node_name          varchar(100) NOT NULL,
    host_id            uuid NOT NULL REFERENCES sync_metadata.hosts ON DELETE CASCADE,
    boot_id            uuid NOT NULL,
    backend_pid        integer,
    api_port           integer,
    version            text NOT NULL,
    started_at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    last_heartbeat     timestamptz NOT NULL DEFAULT clock_timestamp(),
    stopped_at         timestamptz,
    clock_skew_seconds double precision,
    leader_seen        varchar(100),
    term_seen          bigint,
    last_event         bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (cluster_name, node_name)
);

CREATE INDEX idx_sync_nodes_host ON sync_metadata.sync_nodes (host_id);

-- Who runs a job, since when it waited, and that somebody wants it to end.
ALTER TABLE sync_metadata.sync_jobs
    ADD COLUMN queued_at           timestamptz,
    ADD COLUMN node_name           varchar(100),
    ADD COLUMN term                bigint,
    ADD COLUMN cancel_requested_at timestamptz;

-- A comparison may be asked for like a run.
ALTER TABLE sync_metadata.sync_jobs
    DROP CONSTRAINT sync_jobs_sync_type_check,
    ADD CONSTRAINT sync_jobs_sync_type_check CHECK (sync_type IN ('full', 'incremental', 'manual', 'verify'));

-- The statements that made the source's tables, indexes, triggers and views: what it takes to make it again.
ALTER TABLE sync_metadata.replication_state ADD COLUMN source_schema jsonb;

-- Events are read by number, each node from where it stands. The number is drawn under a lock that lasts until the
-- commit, so that no event becomes visible behind one that a node has passed already.
CREATE SEQUENCE sync_metadata.cache_event_number;
ALTER TABLE sync_metadata.cache_events ADD COLUMN event_number bigint;
UPDATE sync_metadata.cache_events AS e
   SET event_number = n.number
  FROM (SELECT event_id, row_number() OVER (ORDER BY created_at, event_id) AS number
          FROM sync_metadata.cache_events) AS n
 WHERE n.event_id = e.event_id;
SELECT setval('sync_metadata.cache_event_number',
              (SELECT 1 + coalesce(max(event_number), 0) FROM sync_metadata.cache_events));
ALTER TABLE sync_metadata.cache_events ALTER COLUMN event_number SET NOT NULL;
CREATE UNIQUE INDEX idx_cache_events_number ON sync_metadata.cache_events (event_number);

CREATE FUNCTION sync_metadata.number_event() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('sync_metadata.cache_events', 0));
    NEW.event_number := nextval('sync_metadata.cache_event_number');
    RETURN NEW;
END
$$;

CREATE TRIGGER number_event BEFORE INSERT ON sync_metadata.cache_events
    FOR EACH ROW EXECUTE FUNCTION sync_metadata.number_event();

-- Whoever changes what a client should be, by whatever program, tells every node of its cluster. The notification is
-- a hint; the event is what counts.
CREATE FUNCTION sync_metadata.tell_of_deployment() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    host record;
BEGIN
    FOR host IN SELECT h.host_id, h.hostname, h.cluster_name FROM sync_metadata.hosts AS h
                 WHERE h.host_id IN (CASE WHEN TG_OP <> 'INSERT' THEN OLD.host_id END,
                                     CASE WHEN TG_OP <> 'DELETE' THEN NEW.host_id END)
    LOOP
        INSERT INTO sync_metadata.cache_events (host_id, hostname, cluster_name, cache_key, action)
        VALUES (host.host_id, host.hostname, host.cluster_name,
                'deployment.' || CASE TG_OP WHEN 'DELETE' THEN OLD.client_name ELSE NEW.client_name END,
                CASE TG_OP WHEN 'DELETE' THEN 'delete' ELSE 'invalidate' END);
        PERFORM pg_notify('client_manager', host.cluster_name);
    END LOOP;
    RETURN NULL;
END
$$;

CREATE TRIGGER tell_of_arrival AFTER INSERT OR DELETE ON sync_metadata.client_deployments
    FOR EACH ROW EXECUTE FUNCTION sync_metadata.tell_of_deployment();
CREATE TRIGGER tell_of_change AFTER UPDATE ON sync_metadata.client_deployments
    FOR EACH ROW WHEN ((OLD.host_id, OLD.client_name, OLD.container_name, OLD.sync_enabled, OLD.sync_interval,
                        OLD.status, OLD.config)
                       IS DISTINCT FROM
                       (NEW.host_id, NEW.client_name, NEW.container_name, NEW.sync_enabled, NEW.sync_interval,
                        NEW.status, NEW.config))
    EXECUTE FUNCTION sync_metadata.tell_of_deployment();

CREATE FUNCTION sync_metadata.tell_of_job() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
    PERFORM pg_notify('client_manager', h.cluster_name)
       FROM sync_metadata.client_deployments AS d JOIN sync_metadata.hosts AS h USING (host_id)
      WHERE d.client_name = NEW.client_name;
    RETURN NULL;
END
$$;

CREATE TRIGGER tell_of_queued AFTER INSERT ON sync_metadata.sync_jobs
    FOR EACH ROW WHEN (NEW.status = 'queued') EXECUTE FUNCTION sync_metadata.tell_of_job();
CREATE TRIGGER tell_of_cancel AFTER UPDATE ON sync_metadata.sync_jobs
    FOR EACH ROW WHEN (OLD.cancel_requested_at IS NULL AND NEW.cancel_requested_at IS NOT NULL)
    EXECUTE FUNCTION sync_metadata.tell_of_job();

-- A run that was cut off leaves its job running; the client's next run closes it, and so does the next leader.
CREATE INDEX idx_sync_jobs_unfinished ON sync_metadata.sync_jobs (client_name) WHERE status IN ('queued', 'running');

ALTER TABLE sync_metadata.sync_nodes ENABLE ROW LEVEL SECURITY;
CREATE POLICY of_cluster ON sync_metadata.sync_nodes
    USING (sync_metadata.session_is('sync_node_' || cluster_name));
-- What is applied is no secret of anybody who may use the schema.
CREATE POLICY of_all ON sync_metadata.schema_migrations FOR SELECT USING (true);
-- What a full load keeps carries the name of the schema that it loads into, until the swap.
ALTER POLICY of_client ON sync_metadata.quarantine
    USING (sync_metadata.session_is('sync_owner_' || regexp_replace(client_name, '__load$', '')));

-- The rights of a cluster's nodes: what they see of it is decided by the policies. Rows are deleted by nobody but the
-- operator, values in quarantine by who replaces them.
CREATE FUNCTION sync_metadata.grant_node_access(cluster text) RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
    node_role text := 'sync_node_' || cluster;
BEGIN
    EXECUTE format('GRANT USAGE ON SCHEMA sync_metadata TO %I', node_role);
    EXECUTE format('GRANT SELECT, INSERT, UPDATE ON sync_metadata.hosts, sync_metadata.sync_nodes, '
                   'sync_metadata.leader_election, sync_metadata.sync_jobs, sync_metadata.sync_progress, '
                   'sync_metadata.conflict_log, sync_metadata.replication_state TO %I', node_role);
    EXECUTE format('GRANT SELECT, UPDATE ON sync_metadata.client_deployments TO %I', node_role);
    EXECUTE format('GRANT SELECT ON sync_metadata.cache_events, sync_metadata.schema_migrations, '
                   'sync_metadata.v_cluster_health TO %I', node_role);
    EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON sync_metadata.quarantine TO %I', node_role);
    RETURN node_role;
END
$$;

-- A replica is its owner's: the load makes a schema beside it, and moves that into its place.
CREATE OR REPLACE FUNCTION sync_metadata.grant_client_access(client_schema_name text) RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
    owner_name text := 'sync_owner_' || client_schema_name;
BEGIN
    EXECUTE format('GRANT USAGE ON SCHEMA sync_metadata TO %I', owner_name);
    EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON sync_metadata.client_deployments, '
                   'sync_metadata.conflict_log, sync_metadata.sync_jobs, sync_metadata.sync_progress, '
                   'sync_metadata.replication_state, sync_metadata.quarantine TO %I', owner_name);
    EXECUTE format('GRANT CREATE ON DATABASE %I TO %I', current_database(), owner_name);
    IF EXISTS (SELECT FROM pg_namespace WHERE nspname = client_schema_name) THEN
        EXECUTE format('GRANT USAGE, CREATE ON SCHEMA %I TO %I', client_schema_name, owner_name);
    END IF;
    RETURN owner_name;
END
$$;

REVOKE ALL ON sync_metadata.sync_nodes, sync_metadata.cache_event_number FROM PUBLIC;
REVOKE ALL ON FUNCTION sync_metadata.number_event(), sync_metadata.tell_of_deployment(), sync_metadata.tell_of_job(),
    sync_metadata.grant_node_access(text) FROM PUBLIC;
