-- name: export_hosts
-- The machines of a cluster, as PostgreSQL's own JSON.
SELECT to_jsonb(h)::text FROM sync_metadata.hosts AS h WHERE h.cluster_name = %(cluster)s ORDER BY h.host_id;

-- name: export_sync_nodes
-- Its nodes.
SELECT to_jsonb(n)::text FROM sync_metadata.sync_nodes AS n WHERE n.cluster_name = %(cluster)s ORDER BY n.node_name;

-- name: export_leader_election
-- Its lease, to be read by a person: it is never put back, since a term must not go back.
SELECT to_jsonb(l)::text FROM sync_metadata.leader_election AS l WHERE l.cluster_name = %(cluster)s;

-- name: export_client_deployments
-- Its clients.
SELECT to_jsonb(d)::text FROM sync_metadata.client_deployments AS d JOIN sync_metadata.hosts AS h USING (host_id)
 WHERE h.cluster_name = %(cluster)s ORDER BY d.client_name;

-- name: export_replication_state
-- How far their replicas are.
SELECT to_jsonb(s)::text FROM sync_metadata.replication_state AS s
  JOIN sync_metadata.client_deployments AS d ON d.client_name = s.client_name JOIN sync_metadata.hosts AS h USING (host_id)
 WHERE h.cluster_name = %(cluster)s ORDER BY s.client_name;

-- name: export_sync_jobs
-- Their jobs.
SELECT to_jsonb(j)::text FROM sync_metadata.sync_jobs AS j
  JOIN sync_metadata.client_deployments AS d USING (deployment_id) JOIN sync_metadata.hosts AS h ON h.host_id = d.host_id
 WHERE h.cluster_name = %(cluster)s ORDER BY j.started_at, j.job_id;

-- name: export_sync_progress
-- How far the tables of these jobs were.
SELECT to_jsonb(p)::text FROM sync_metadata.sync_progress AS p JOIN sync_metadata.sync_jobs AS j USING (job_id)
  JOIN sync_metadata.client_deployments AS d USING (deployment_id) JOIN sync_metadata.hosts AS h ON h.host_id = d.host_id
 WHERE h.cluster_name = %(cluster)s ORDER BY p.job_id, p.table_name;

-- name: export_conflict_log
-- Their conflicts.
SELECT to_jsonb(c)::text FROM sync_metadata.conflict_log AS c
  JOIN sync_metadata.client_deployments AS d USING (deployment_id) JOIN sync_metadata.hosts AS h ON h.host_id = d.host_id
 WHERE h.cluster_name = %(cluster)s ORDER BY c.detected_at, c.log_id;

-- name: export_cache_events
-- What its machines were told.
SELECT to_jsonb(e)::text FROM sync_metadata.cache_events AS e JOIN sync_metadata.hosts AS h USING (host_id)
 WHERE h.cluster_name = %(cluster)s ORDER BY e.event_number;

-- name: find_host
-- The machine with this id, or with this name in this cluster.
SELECT host_id, hostname, cluster_name FROM sync_metadata.hosts
 WHERE host_id = %(host_id)s OR (hostname = %(hostname)s AND cluster_name = %(cluster)s)
 ORDER BY host_id = %(host_id)s DESC
   FOR KEY SHARE;

-- name: find_client
-- Who has this client's id, name or container now, and where.
SELECT d.deployment_id, d.client_name, d.container_name, h.cluster_name
  FROM sync_metadata.client_deployments AS d LEFT JOIN sync_metadata.hosts AS h USING (host_id)
 WHERE d.deployment_id = %(deployment_id)s OR d.client_name = %(client)s OR d.container_name = %(container)s
 ORDER BY d.deployment_id = %(deployment_id)s DESC, d.client_name = %(client)s DESC, d.client_name;

-- name: restore_host
-- As it was.
INSERT INTO sync_metadata.hosts
SELECT r.* FROM jsonb_populate_record(NULL::sync_metadata.hosts, %(row)s::jsonb) AS r;

-- name: restore_sync_nodes
-- As they were, on the machine that is there now; a node that has described itself since stays as it is. Nothing runs
-- under a name that comes back.
INSERT INTO sync_metadata.sync_nodes
SELECT r.* FROM jsonb_array_elements(%(rows)s::jsonb) AS e (row)
 CROSS JOIN LATERAL jsonb_populate_record(NULL::sync_metadata.sync_nodes, e.row || jsonb_build_object(
       'host_id', coalesce(%(hosts)s::jsonb ->> (e.row ->> 'host_id'), e.row ->> 'host_id'),
       'stopped_at', coalesce(e.row ->> 'stopped_at', clock_timestamp()::text), 'backend_pid', NULL)) AS r
ON CONFLICT (cluster_name, node_name) DO NOTHING;

-- name: restore_client
-- As it was, on the machine that is there now.
INSERT INTO sync_metadata.client_deployments
SELECT r.* FROM jsonb_populate_record(NULL::sync_metadata.client_deployments,
                                      %(row)s::jsonb || jsonb_build_object('host_id', %(host_id)s::uuid)) AS r;

-- name: restore_replication_state
-- Only where nothing is known: a fence or a generation must never go back.
INSERT INTO sync_metadata.replication_state
SELECT r.* FROM jsonb_array_elements(%(rows)s::jsonb) AS e (row)
 CROSS JOIN LATERAL jsonb_populate_record(NULL::sync_metadata.replication_state, e.row) AS r
ON CONFLICT (client_name) DO NOTHING;

-- name: restore_sync_jobs
-- Those that are gone; whatever was under way then is under way no more.
INSERT INTO sync_metadata.sync_jobs
SELECT r.* FROM jsonb_array_elements(%(rows)s::jsonb) AS e (row)
 CROSS JOIN LATERAL jsonb_populate_record(NULL::sync_metadata.sync_jobs, e.row || jsonb_build_object(
       'deployment_id', (SELECT d.deployment_id FROM sync_metadata.client_deployments AS d
                          WHERE d.deployment_id = (e.row ->> 'deployment_id')::uuid),
       'status', CASE WHEN e.row ->> 'status' IN ('queued', 'running') THEN 'cancelled' ELSE e.row ->> 'status' END)) AS r
ON CONFLICT (job_id) DO NOTHING;

-- name: restore_sync_progress
-- Those that are gone, of jobs that are there.
INSERT INTO sync_metadata.sync_progress
SELECT r.* FROM jsonb_array_elements(%(rows)s::jsonb) AS e (row)
 CROSS JOIN LATERAL jsonb_populate_record(NULL::sync_metadata.sync_progress, e.row) AS r
  JOIN sync_metadata.sync_jobs AS j ON j.job_id = r.job_id
ON CONFLICT DO NOTHING;

-- name: restore_conflict_log
-- Those that are gone.
INSERT INTO sync_metadata.conflict_log
SELECT r.* FROM jsonb_array_elements(%(rows)s::jsonb) AS e (row)
 CROSS JOIN LATERAL jsonb_populate_record(NULL::sync_metadata.conflict_log, e.row || jsonb_build_object(
       'deployment_id', (SELECT d.deployment_id FROM sync_metadata.client_deployments AS d
                          WHERE d.deployment_id = (e.row ->> 'deployment_id')::uuid))) AS r
ON CONFLICT (log_id) DO NOTHING;

-- name: restore_cache_events
-- Those that are gone, with numbers of their own.
INSERT INTO sync_metadata.cache_events
SELECT r.* FROM jsonb_array_elements(%(rows)s::jsonb) AS e (row)
 CROSS JOIN LATERAL jsonb_populate_record(NULL::sync_metadata.cache_events, e.row || jsonb_build_object(
       'host_id', coalesce(%(hosts)s::jsonb ->> (e.row ->> 'host_id'), e.row ->> 'host_id'))) AS r
ON CONFLICT (event_id) DO NOTHING;

-- name: link_sync_jobs
-- What outlived its client belongs to it again.
UPDATE sync_metadata.sync_jobs AS j SET deployment_id = d.deployment_id
  FROM jsonb_array_elements(%(rows)s::jsonb) AS e (row)
  JOIN sync_metadata.client_deployments AS d ON d.deployment_id = (e.row ->> 'deployment_id')::uuid
 WHERE j.job_id = (e.row ->> 'job_id')::uuid AND j.deployment_id IS NULL AND j.client_name = d.client_name;

-- name: link_conflict_log
-- What outlived its client belongs to it again.
UPDATE sync_metadata.conflict_log AS c SET deployment_id = d.deployment_id
  FROM jsonb_array_elements(%(rows)s::jsonb) AS e (row)
  JOIN sync_metadata.client_deployments AS d ON d.deployment_id = (e.row ->> 'deployment_id')::uuid
 WHERE c.log_id = (e.row ->> 'log_id')::uuid AND c.deployment_id IS NULL AND c.client_name = d.client_name;
