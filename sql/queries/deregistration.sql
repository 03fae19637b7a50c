-- name: set_transaction
-- For one transaction: rows that a policy would hide are an error instead, nobody is waited for longer than this, and
-- the same row has the same text in every session.
SELECT set_config('row_security', 'off', true), set_config('search_path', 'pg_catalog', true),
       set_config('timezone', 'UTC', true), set_config('datestyle', 'ISO, YMD', true),
       set_config('lock_timeout', %(lock_timeout)s::text, true),
       set_config('statement_timeout', %(statement_timeout)s::text, true),
       set_config('idle_in_transaction_session_timeout', %(idle_timeout)s::text, true);

-- name: list_hidden
-- The tables of which this user may not see every row.
SELECT c.relname::text FROM pg_class AS c
 WHERE c.relnamespace = 'sync_metadata'::regnamespace AND c.relkind IN ('r', 'p') AND row_security_active(c.oid)
 ORDER BY 1;

-- name: list_cascading
-- What hangs on a client or a machine so that it would be deleted with it, beside what is counted.
SELECT DISTINCT c.conrelid::regclass::text FROM pg_constraint AS c
 WHERE c.contype = 'f' AND c.confdeltype = 'c'
   AND c.confrelid IN ('sync_metadata.hosts'::regclass, 'sync_metadata.client_deployments'::regclass,
                       'sync_metadata.sync_nodes'::regclass, 'sync_metadata.leader_election'::regclass)
   AND c.conrelid NOT IN ('sync_metadata.client_deployments'::regclass, 'sync_metadata.leader_election'::regclass,
                          'sync_metadata.sync_nodes'::regclass)
 ORDER BY 1;

-- name: find_schema_version
-- The last migration that is applied.
SELECT coalesce(max(version), 0) FROM sync_metadata.schema_migrations;

-- name: list_names
-- Every cluster that somebody has left a trace of.
SELECT cluster_name FROM sync_metadata.hosts
 UNION SELECT cluster_name FROM sync_metadata.leader_election
 UNION SELECT cluster_name FROM sync_metadata.sync_nodes
 ORDER BY 1;

-- name: list_hosts
-- The cluster's machines, and a digest of what nodes do not change of them.
SELECT h.host_id, h.hostname, extract(epoch FROM clock_timestamp() - h.last_heartbeat)::float8 AS heartbeat_age_s,
       coalesce(h.metadata, '{}') = '{}' AND h.hostname ~ '-(node-a|node-b|primary|secondary)$' AS is_node,
       md5((to_jsonb(h) - ARRAY['last_heartbeat', 'updated_at', 'status'])::text) AS content
  FROM sync_metadata.hosts AS h WHERE h.cluster_name = %(cluster)s
 ORDER BY h.hostname;

-- name: list_nodes
-- The cluster's nodes, and whatever else is recorded on its machines.
SELECT n.cluster_name, n.node_name, n.host_id, h.hostname, n.stopped_at IS NOT NULL AS stopped,
       extract(epoch FROM clock_timestamp() - n.last_heartbeat)::float8 AS heartbeat_age_s
  FROM sync_metadata.sync_nodes AS n JOIN sync_metadata.hosts AS h USING (host_id)
 WHERE n.cluster_name = %(cluster)s OR h.cluster_name = %(cluster)s
 ORDER BY n.cluster_name, n.node_name;

-- name: list_leases
-- The cluster's lease, and any other that hangs on its machines.
SELECT l.cluster_name, coalesce(l.leader_name, l.leader_id) AS leader, h.hostname,
       l.expires_at > clock_timestamp() AS valid
  FROM sync_metadata.leader_election AS l LEFT JOIN sync_metadata.hosts AS h ON h.host_id = l.leader_host_id
 WHERE l.cluster_name = %(cluster)s OR h.cluster_name = %(cluster)s
 ORDER BY l.cluster_name;

-- name: list_clients
-- The cluster's clients, and a digest of what a run does not change of them.
SELECT d.deployment_id, d.client_name, d.container_name, d.host_id, coalesce(d.sync_enabled, false) AS sync_enabled,
       d.last_sync_at, d.status,
       md5((to_jsonb(d) - ARRAY['last_sync_at', 'last_sync_status', 'next_sync_at', 'updated_at'])::text) AS content
  FROM sync_metadata.client_deployments AS d JOIN sync_metadata.hosts AS h USING (host_id)
 WHERE h.cluster_name = %(cluster)s
 ORDER BY d.client_name;

-- name: list_jobs
-- What of its clients is not over; the predecessor's jobs may name a client and no row of it.
SELECT j.job_id, j.client_name, j.status
  FROM sync_metadata.sync_jobs AS j
 WHERE j.status IN ('queued', 'running')
   AND EXISTS (SELECT FROM sync_metadata.client_deployments AS d JOIN sync_metadata.hosts AS h USING (host_id)
                WHERE h.cluster_name = %(cluster)s
                  AND (d.deployment_id = j.deployment_id OR d.client_name = j.client_name))
 ORDER BY j.client_name, j.job_id;

-- name: list_homeless
-- Clients that are registered on no machine.
SELECT client_name FROM sync_metadata.client_deployments WHERE host_id IS NULL ORDER BY 1;

-- name: count_rows
-- What goes, and what outlives it.
WITH host AS (SELECT host_id FROM sync_metadata.hosts WHERE cluster_name = %(cluster)s),
     client AS (SELECT deployment_id, client_name FROM sync_metadata.client_deployments JOIN host USING (host_id)),
     job AS (SELECT job_id FROM sync_metadata.sync_jobs JOIN client USING (deployment_id))
SELECT jsonb_build_object(
           'client_deployments', (SELECT count(*) FROM client),
           'sync_nodes', (SELECT count(*) FROM sync_metadata.sync_nodes WHERE cluster_name = %(cluster)s),
           'leader_election', (SELECT count(*) FROM sync_metadata.leader_election WHERE cluster_name = %(cluster)s),
           'hosts', (SELECT count(*) FROM host),
           'cache_events', (SELECT count(*) FROM sync_metadata.cache_events JOIN host USING (host_id))),
       jsonb_build_object(
           'sync_jobs', (SELECT count(*) FROM job),
           'sync_progress', (SELECT count(*) FROM sync_metadata.sync_progress JOIN job USING (job_id)),
           'conflict_log', (SELECT count(*) FROM sync_metadata.conflict_log JOIN client USING (deployment_id)),
           'replication_state', (SELECT count(*) FROM sync_metadata.replication_state JOIN client USING (client_name)),
           'quarantine', (SELECT count(*) FROM sync_metadata.quarantine JOIN client USING (client_name)));

-- name: lock_clients
-- Nobody enables, moves or changes one of them until the end. Before the machines: whoever changes a client then tells
-- its machine.
SELECT d.deployment_id FROM sync_metadata.client_deployments AS d
 WHERE d.host_id IN (SELECT h.host_id FROM sync_metadata.hosts AS h WHERE h.cluster_name = %(cluster)s)
 ORDER BY d.deployment_id FOR UPDATE;

-- name: lock_hosts
-- Nobody registers a client, a node or a lease on one of them until the end; who is about to is waited for.
SELECT h.host_id FROM sync_metadata.hosts AS h WHERE h.cluster_name = %(cluster)s ORDER BY h.host_id FOR UPDATE;

-- name: lock_lease
-- Nobody renews it.
SELECT l.term FROM sync_metadata.leader_election AS l WHERE l.cluster_name = %(cluster)s FOR UPDATE;

-- name: lock_nodes
-- Nobody beats.
SELECT n.node_name FROM sync_metadata.sync_nodes AS n WHERE n.cluster_name = %(cluster)s ORDER BY n.node_name FOR UPDATE;

-- name: end_jobs
-- No node will ever take them up, or has them in hand any more.
UPDATE sync_metadata.sync_jobs AS j
   SET status = CASE j.status WHEN 'queued' THEN 'cancelled' ELSE 'failed' END,
       error_message = 'its cluster ' || %(cluster)s::text || ' was deregistered'
 WHERE j.job_id = ANY (%(jobs)s::uuid[]) AND j.status IN ('queued', 'running');

-- name: delete_clients
-- By id, as they were decided on; one whose sync is enabled is never among them, whatever was decided.
DELETE FROM sync_metadata.client_deployments
 WHERE deployment_id = ANY (%(clients)s::uuid[]) AND sync_enabled IS NOT TRUE;

-- name: delete_nodes
-- With the cluster, wherever they are recorded.
DELETE FROM sync_metadata.sync_nodes WHERE cluster_name = %(cluster)s;

-- name: delete_lease
-- By the cluster's name: the row's machine may be another's, or none.
DELETE FROM sync_metadata.leader_election WHERE cluster_name = %(cluster)s;

-- name: delete_events
-- Nobody reads what is addressed to a machine that is gone.
DELETE FROM sync_metadata.cache_events WHERE host_id = ANY (%(hosts)s::uuid[]);

-- name: delete_hosts
-- Only when nothing hangs on them any more: the foreign key would take a client with it.
DELETE FROM sync_metadata.hosts AS h
 WHERE h.host_id = ANY (%(hosts)s::uuid[])
   AND NOT EXISTS (SELECT FROM sync_metadata.client_deployments AS d WHERE d.host_id = h.host_id);

-- name: count_left
-- What is still there of it.
SELECT (SELECT count(*) FROM sync_metadata.hosts WHERE cluster_name = %(cluster)s::text OR host_id = ANY (%(hosts)s::uuid[])),
       (SELECT count(*) FROM sync_metadata.sync_nodes
         WHERE cluster_name = %(cluster)s::text OR host_id = ANY (%(hosts)s::uuid[])),
       (SELECT count(*) FROM sync_metadata.leader_election
         WHERE cluster_name = %(cluster)s::text OR leader_host_id = ANY (%(hosts)s::uuid[])),
       (SELECT count(*) FROM sync_metadata.client_deployments
         WHERE deployment_id = ANY (%(clients)s::uuid[]) OR host_id = ANY (%(hosts)s::uuid[])),
       (SELECT count(*) FROM sync_metadata.cache_events WHERE host_id = ANY (%(hosts)s::uuid[]));

-- name: await_hosts
-- Which of these machines are there, when whoever holds their rows has come to an end.
SELECT h.host_id FROM sync_metadata.hosts AS h WHERE h.host_id = ANY (%(hosts)s::uuid[]) FOR UPDATE;

-- name: move_client
-- The record moves to another cluster's machine, if it is still where it was.
UPDATE sync_metadata.client_deployments AS d
   SET host_id = %(to_host)s, next_sync_at = CASE WHEN d.sync_enabled THEN clock_timestamp() ELSE d.next_sync_at END
 WHERE d.client_name = %(client)s
   AND d.host_id IN (SELECT h.host_id FROM sync_metadata.hosts AS h WHERE h.cluster_name = %(cluster)s)
RETURNING d.deployment_id;

-- name: fence_off
-- Whoever led the former cluster writes to the replica no more. The new leader may, or takes a term from which on it may.
INSERT INTO sync_metadata.replication_state AS s (client_name, fence)
SELECT %(client)s,
       greatest((SELECT r.fence + 1 FROM sync_metadata.replication_state AS r WHERE r.client_name = %(client)s),
                (SELECT l.term + 1 FROM sync_metadata.leader_election AS l WHERE l.cluster_name = %(cluster)s),
                (SELECT l.term FROM sync_metadata.leader_election AS l JOIN sync_metadata.hosts AS h USING (cluster_name)
                  WHERE h.host_id = %(to_host)s))
ON CONFLICT (client_name) DO UPDATE SET fence = greatest(s.fence + 1, excluded.fence);

-- name: delete_client
-- One client's record, when its sync is off and nothing of it runs.
DELETE FROM sync_metadata.client_deployments AS d
 WHERE d.client_name = %(client)s AND d.sync_enabled IS NOT TRUE
   AND NOT EXISTS (SELECT FROM sync_metadata.sync_jobs AS j
                    WHERE j.client_name = d.client_name AND j.status IN ('queued', 'running'))
RETURNING d.deployment_id;
