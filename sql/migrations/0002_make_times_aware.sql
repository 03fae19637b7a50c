-- Every time becomes a point in time; those without a zone were written as UTC. Views stand in the way of a column's
-- new type, so they go and come again: ours anew, and what an operator added as it was.

CREATE TEMPORARY TABLE kept_view ON COMMIT DROP AS
SELECT c.oid, c.relname AS name, pg_get_viewdef(c.oid) AS definition, coalesce(c.reloptions, '{}') AS options
  FROM pg_class AS c
 WHERE c.relnamespace = 'sync_metadata'::regnamespace AND c.relkind = 'v'
   AND c.relname NOT IN ('v_active_sync_jobs', 'v_recent_conflicts', 'v_cluster_health', 'v_last_completed_sync_jobs');

DO $$
DECLARE
    item record;
BEGIN
    FOR item IN SELECT name FROM pg_temp.kept_view ORDER BY oid DESC
    LOOP
        EXECUTE format('DROP VIEW sync_metadata.%I', item.name);
    END LOOP;
END
$$;

DROP VIEW IF EXISTS
    sync_metadata.v_active_sync_jobs, sync_metadata.v_recent_conflicts, sync_metadata.v_cluster_health,
    sync_metadata.v_last_completed_sync_jobs;

-- All of a table at once: a rule over two times would otherwise compare a changed one with one that is not.
DO $$
DECLARE
    item record;
BEGIN
    FOR item IN
        SELECT a.attrelid::regclass AS relation,
               string_agg(format('ALTER %1$I DROP DEFAULT, ALTER %1$I TYPE timestamptz USING %1$I AT TIME ZONE ''UTC''%2$s',
                                 a.attname,
                                 CASE WHEN a.atthasdef THEN format(', ALTER %I SET DEFAULT now()', a.attname) END),
                          ', ' ORDER BY a.attnum) AS changes
          FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid
         WHERE c.relnamespace = 'sync_metadata'::regnamespace AND c.relkind = 'r'
           AND c.relname IN ('hosts', 'client_deployments', 'leader_election', 'conflict_log', 'cache_events',
                             'sync_jobs', 'sync_progress')
           AND a.attnum > 0 AND NOT a.attisdropped AND a.atttypid = 'timestamp without time zone'::regtype
         GROUP BY a.attrelid
    LOOP
        EXECUTE format('ALTER TABLE %s %s', item.relation, item.changes);
    END LOOP;
END
$$;

CREATE VIEW sync_metadata.v_active_sync_jobs WITH (security_invoker = true) AS
SELECT job_id, client_name, started_at, tables_synced, tables_total,
       round(100.0 * tables_synced / nullif(tables_total, 0), 2) AS percent_complete,
       rows_synced, rows_failed, conflicts_detected, conflicts_resolved,
       extract(epoch FROM now() - started_at) AS runtime_seconds
  FROM sync_metadata.sync_jobs
 WHERE status = 'running';

CREATE VIEW sync_metadata.v_recent_conflicts WITH (security_invoker = true) AS
SELECT client_name, table_name, conflict_type, resolution_strategy, detected_at, resolved_at,
       extract(epoch FROM resolved_at - detected_at) AS resolution_time_seconds,
       CASE
           WHEN resolved_at IS NULL THEN 'unresolved'
           WHEN resolution_strategy = 'manual' THEN 'manually-resolved'
           ELSE 'auto-resolved'
       END AS resolution_type
  FROM sync_metadata.conflict_log
 WHERE detected_at > now() - interval '24 hours';

-- A host is what its heartbeat says (under 2 minutes active, up to 5 degraded, else offline), unless it was taken out
-- for maintenance; the leader is the one host that holds a lease which has not run out.
CREATE VIEW sync_metadata.v_cluster_health WITH (security_invoker = true) AS
SELECT h.cluster_name, h.hostname,
       CASE
           WHEN h.status = 'maintenance' THEN 'maintenance'
           WHEN h.last_heartbeat > now() - interval '2 minutes' THEN 'active'
           WHEN h.last_heartbeat >= now() - interval '5 minutes' THEN 'degraded'
           ELSE 'offline'
       END AS host_status,
       h.last_heartbeat,
       extract(epoch FROM now() - h.last_heartbeat) AS seconds_since_heartbeat,
       l.leader_id,
       CASE WHEN l.leader_host_id = h.host_id THEN 'leader' ELSE 'follower' END AS leader_status,
       l.expires_at AS leader_lease_expires,
       count(d.deployment_id) AS deployments_count,
       count(d.deployment_id) FILTER (WHERE d.sync_enabled) AS sync_enabled_count
  FROM sync_metadata.hosts AS h
       LEFT JOIN sync_metadata.leader_election AS l ON l.cluster_name = h.cluster_name AND l.expires_at > now()
       LEFT JOIN sync_metadata.client_deployments AS d ON d.host_id = h.host_id
 GROUP BY h.host_id, h.cluster_name, h.hostname, h.status, h.last_heartbeat, l.leader_id, l.leader_host_id,
          l.expires_at;

CREATE VIEW sync_metadata.v_last_completed_sync_jobs WITH (security_invoker = true) AS
SELECT DISTINCT ON (client_name)
       deployment_id, client_name, job_id, status, started_at, completed_at, tables_synced, tables_total,
       duration_seconds, now() - completed_at AS time_since_last_completed
  FROM sync_metadata.sync_jobs
 WHERE completed_at IS NOT NULL AND status IN ('success', 'failed', 'cancelled')
 ORDER BY client_name, completed_at DESC, job_id;

DO $$
DECLARE
    item record;
BEGIN
    FOR item IN SELECT * FROM pg_temp.kept_view ORDER BY oid
    LOOP
        EXECUTE format('CREATE VIEW sync_metadata.%I WITH (security_invoker = true) AS %s', item.name, item.definition);
    END LOOP;
END
$$;
