-- Who may see a row is decided by who logged in, which no session can change, and never by a variable that it can.
-- A client's rows are for members of sync_owner_<client>, a cluster's for members of sync_node_<cluster>.

DO $$
DECLARE
    item record;
BEGIN
    FOR item IN SELECT c.relname AS name, p.polname AS policy
                  FROM pg_policy AS p JOIN pg_class AS c ON c.oid = p.polrelid
                 WHERE c.relnamespace = 'sync_metadata'::regnamespace
    LOOP
        EXECUTE format('DROP POLICY %I ON sync_metadata.%I', item.policy, item.name);
    END LOOP;
END
$$;

DROP FUNCTION IF EXISTS
    sync_metadata.set_sync_context(uuid, text, text, text),
    sync_metadata.test_rls_isolation(),
    sync_metadata.test_sync_service_permissions(),
    sync_metadata.grant_client_access(text);

-- A name beyond 63 bytes is no role's; cut off, it could be another's.
CREATE FUNCTION sync_metadata.session_is(role_name text) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog AS $$
    SELECT octet_length(role_name) < 64
       AND EXISTS (SELECT FROM pg_roles
                    WHERE rolname = role_name::name AND pg_has_role(session_user, oid, 'MEMBER'))
$$;

ALTER TABLE sync_metadata.hosts ENABLE ROW LEVEL SECURITY;
ALTER TABLE sync_metadata.client_deployments ENABLE ROW LEVEL SECURITY;
ALTER TABLE sync_metadata.leader_election ENABLE ROW LEVEL SECURITY;
ALTER TABLE sync_metadata.conflict_log ENABLE ROW LEVEL SECURITY;
ALTER TABLE sync_metadata.cache_events ENABLE ROW LEVEL SECURITY;
ALTER TABLE sync_metadata.sync_jobs ENABLE ROW LEVEL SECURITY;
ALTER TABLE sync_metadata.sync_progress ENABLE ROW LEVEL SECURITY;
ALTER TABLE sync_metadata.replication_state ENABLE ROW LEVEL SECURITY;
ALTER TABLE sync_metadata.quarantine ENABLE ROW LEVEL SECURITY;
ALTER TABLE sync_metadata.schema_migrations ENABLE ROW LEVEL SECURITY;

CREATE POLICY of_cluster ON sync_metadata.hosts
    USING (sync_metadata.session_is('sync_node_' || cluster_name));
CREATE POLICY of_cluster ON sync_metadata.leader_election
    USING (sync_metadata.session_is('sync_node_' || cluster_name));
CREATE POLICY of_cluster ON sync_metadata.cache_events
    USING (sync_metadata.session_is('sync_node_' || cluster_name)
           OR host_id IN (SELECT h.host_id FROM sync_metadata.hosts AS h));
CREATE POLICY of_client ON sync_metadata.client_deployments
    USING (sync_metadata.session_is('sync_owner_' || client_name));
CREATE POLICY of_client ON sync_metadata.conflict_log
    USING (sync_metadata.session_is('sync_owner_' || client_name));
CREATE POLICY of_client ON sync_metadata.sync_jobs
    USING (sync_metadata.session_is('sync_owner_' || client_name));
CREATE POLICY of_client ON sync_metadata.sync_progress
    USING (EXISTS (SELECT FROM sync_metadata.sync_jobs AS j WHERE j.job_id = sync_progress.job_id));
CREATE POLICY of_client ON sync_metadata.replication_state
    USING (sync_metadata.session_is('sync_owner_' || client_name));
CREATE POLICY of_client ON sync_metadata.quarantine
    USING (sync_metadata.session_is('sync_owner_' || client_name));

-- Raises where the predecessor's answered with a text that nobody read.
CREATE FUNCTION sync_metadata.grant_client_access(client_schema_name text) RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
    owner_name text := 'sync_owner_' || client_schema_name;
BEGIN
    EXECUTE format('GRANT USAGE ON SCHEMA sync_metadata TO %I', owner_name);
    EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON sync_metadata.client_deployments, '
                   'sync_metadata.conflict_log, sync_metadata.sync_jobs, sync_metadata.sync_progress, '
                   'sync_metadata.replication_state, sync_metadata.quarantine TO %I', owner_name);
    EXECUTE format('GRANT USAGE, CREATE ON SCHEMA %I TO %I', client_schema_name, owner_name);
    RETURN owner_name;
END
$$;

REVOKE ALL ON SCHEMA sync_metadata FROM PUBLIC;
REVOKE ALL ON ALL TABLES IN SCHEMA sync_metadata FROM PUBLIC;
REVOKE ALL ON ALL SEQUENCES IN SCHEMA sync_metadata FROM PUBLIC;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA sync_metadata FROM PUBLIC;
GRANT EXECUTE ON FUNCTION sync_metadata.session_is(text) TO PUBLIC;

DO $$
DECLARE
    item record;
BEGIN
    FOR item IN SELECT DISTINCT d.defaclrole::regrole AS grantor,
                       CASE d.defaclobjtype WHEN 'r' THEN 'TABLES' WHEN 'S' THEN 'SEQUENCES' ELSE 'FUNCTIONS' END AS kind
                  FROM pg_default_acl AS d CROSS JOIN LATERAL aclexplode(d.defaclacl) AS a
                 WHERE d.defaclnamespace = 'sync_metadata'::regnamespace AND a.grantee = 0
                   AND d.defaclobjtype IN ('r', 'S', 'f')
    LOOP
        EXECUTE format('ALTER DEFAULT PRIVILEGES FOR ROLE %s IN SCHEMA sync_metadata REVOKE ALL ON %s FROM PUBLIC',
                       item.grantor, item.kind);
    END LOOP;
END
$$;
