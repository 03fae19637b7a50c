-- name: list_clusters
-- Every cluster that somebody has left a trace of, by name.
SELECT cluster_name FROM sync_metadata.hosts
 UNION SELECT cluster_name FROM sync_metadata.leader_election
 UNION SELECT cluster_name FROM sync_metadata.sync_nodes
 ORDER BY 1;

-- name: list_hosts
-- The machines of a cluster, or of all; the predecessor's rows, a host for each node, among them. Ages by the server's clock.
SELECT h.host_id, h.hostname, host(h.ip_address) AS ip_address, h.cluster_name, h.status, h.last_heartbeat,
       extract(epoch FROM clock_timestamp() - h.last_heartbeat)::float8 AS heartbeat_age_s,
       h.metadata, count(d.deployment_id) AS deployments,
       count(d.deployment_id) FILTER (WHERE d.sync_enabled) AS enabled
  FROM sync_metadata.hosts AS h LEFT JOIN sync_metadata.client_deployments AS d USING (host_id)
 WHERE %(cluster)s::text IS NULL OR h.cluster_name = %(cluster)s
 GROUP BY h.host_id
 ORDER BY h.cluster_name, h.hostname;

-- name: list_nodes
-- The nodes of a cluster, or of all.
SELECT n.cluster_name, n.node_name, n.host_id, h.hostname, n.boot_id, n.api_port, n.version, n.started_at,
       n.last_heartbeat, n.stopped_at, n.clock_skew_seconds, n.leader_seen, n.term_seen,
       extract(epoch FROM clock_timestamp() - n.last_heartbeat)::float8 AS heartbeat_age_s
  FROM sync_metadata.sync_nodes AS n JOIN sync_metadata.hosts AS h USING (host_id)
 WHERE %(cluster)s::text IS NULL OR n.cluster_name = %(cluster)s
 ORDER BY n.cluster_name, n.node_name;

-- name: find_lease
-- Who leads, and for how long yet by the server's clock; below zero it has run out.
SELECT cluster_name, leader_id, leader_name, leader_host_id, term, acquired_at, expires_at, wanted_name, wanted_at,
       extract(epoch FROM expires_at - clock_timestamp())::float8 AS seconds_left
  FROM sync_metadata.leader_election
 WHERE cluster_name = %(cluster)s;

-- name: list_deployments
-- Clients as the sync system knows them, and how far their replicas are; of one cluster, one client, or all.
SELECT d.deployment_id, d.host_id, h.hostname, h.cluster_name, d.client_name, d.container_name, d.fqdn, d.port,
       d.database_type, coalesce(d.sync_enabled, false) AS sync_enabled, coalesce(d.sync_interval, 300) AS sync_interval,
       d.last_sync_at, d.last_sync_status, d.next_sync_at, d.status, d.config, d.created_at,
       extract(epoch FROM clock_timestamp() - d.last_sync_at)::float8 AS lag_s,
       s.generation, s.fence, s.status AS replica_status, s.reason AS replica_reason, s.verified_at,
       (SELECT count(*) FROM sync_metadata.quarantine AS q
         WHERE q.client_name = d.client_name AND q.kind = 'quarantined') AS quarantined,
       (SELECT count(*) FROM sync_metadata.conflict_log AS c
         WHERE c.client_name = d.client_name AND c.resolved_at IS NULL) AS open_conflicts
  FROM sync_metadata.client_deployments AS d
       LEFT JOIN sync_metadata.hosts AS h USING (host_id)
       LEFT JOIN sync_metadata.replication_state AS s ON s.client_name = d.client_name
 WHERE (%(cluster)s::text IS NULL OR h.cluster_name = %(cluster)s)
   AND (%(client)s::text IS NULL OR d.client_name = %(client)s)
 ORDER BY d.client_name;

-- name: upsert_host
-- A machine of a cluster; its row is made once.
INSERT INTO sync_metadata.hosts (hostname, cluster_name, ip_address, metadata)
VALUES (%(hostname)s, %(cluster)s, %(ip_address)s::inet, %(metadata)s::jsonb)
ON CONFLICT ON CONSTRAINT unique_hostname_cluster DO UPDATE
   SET metadata = hosts.metadata || excluded.metadata, ip_address = coalesce(excluded.ip_address, hosts.ip_address)
RETURNING host_id;

-- name: request_switch_over
-- The leader hands over to this node when it sees the request.
UPDATE sync_metadata.leader_election
   SET wanted_name = %(node)s, wanted_at = clock_timestamp()
 WHERE cluster_name = %(cluster)s AND expires_at > clock_timestamp()
RETURNING term;

-- name: withdraw_switch_over
-- The wanted node did not take over; whoever can may lead.
UPDATE sync_metadata.leader_election SET wanted_name = NULL, wanted_at = NULL WHERE cluster_name = %(cluster)s;

-- name: set_deployment
-- What a node or a console sets of a client; what is NULL stays.
UPDATE sync_metadata.client_deployments
   SET sync_enabled = coalesce(%(sync_enabled)s, sync_enabled), sync_interval = coalesce(%(sync_interval)s, sync_interval),
       status = coalesce(%(status)s, status), config = config || coalesce(%(config)s::jsonb, '{}'),
       next_sync_at = CASE WHEN %(sync_enabled)s THEN clock_timestamp() ELSE next_sync_at END
 WHERE client_name = %(client)s
RETURNING deployment_id, updated_at;

-- name: list_conflicts
-- What was settled one way or another lately, the unsettled first; of one cluster, one client, or all.
SELECT log_id, client_name, table_name, record_id, conflict_type, resolution_strategy, detected_at, resolved_at,
       resolved_by, resolution_notes, source_data, target_data
  FROM sync_metadata.conflict_log
 WHERE (%(client)s::text IS NULL OR client_name = %(client)s) AND (NOT %(open)s OR resolved_at IS NULL)
   AND (%(cluster)s::text IS NULL
        OR client_name IN (SELECT d.client_name
                             FROM sync_metadata.client_deployments AS d JOIN sync_metadata.hosts AS h USING (host_id)
                            WHERE h.cluster_name = %(cluster)s))
 ORDER BY resolved_at IS NOT NULL, detected_at DESC
 LIMIT %(limit)s;

-- name: list_health
-- The machines of a cluster as the predecessor's view shows them.
SELECT cluster_name, hostname, host_status, last_heartbeat,
       seconds_since_heartbeat::float8 AS seconds_since_heartbeat, leader_id, leader_status, leader_lease_expires,
       deployments_count, sync_enabled_count
  FROM sync_metadata.v_cluster_health WHERE cluster_name = %(cluster)s
 ORDER BY hostname;

-- name: limit_statements
-- For the rest of the transaction: nobody who asks is kept waiting behind a lock for longer.
SELECT set_config('statement_timeout', %(timeout)s, true);

-- name: list_replicas_without_client
-- Replicas that are kept although nobody is registered any more whose they would be.
SELECT s.client_name
  FROM sync_metadata.replication_state AS s JOIN pg_namespace AS n ON n.nspname = s.client_name
 WHERE NOT EXISTS (SELECT FROM sync_metadata.client_deployments AS d WHERE d.client_name = s.client_name)
 ORDER BY s.client_name;
