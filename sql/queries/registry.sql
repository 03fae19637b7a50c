-- name: register
-- A client begins disabled; what was registered of it before stays its own row, with its history.
INSERT INTO sync_metadata.client_deployments AS d
       (host_id, client_name, container_name, fqdn, port, database_type, sync_enabled, sync_interval, last_sync_status,
        status, config)
VALUES (%(host_id)s, %(client)s, %(container)s, %(fqdn)s, %(port)s, 'sqlite', false, %(interval)s, 'pending', 'active',
        %(config)s::jsonb)
ON CONFLICT ON CONSTRAINT unique_client_name DO UPDATE
   SET host_id = excluded.host_id, container_name = excluded.container_name, fqdn = excluded.fqdn, port = excluded.port,
       database_type = excluded.database_type, sync_enabled = false, sync_interval = excluded.sync_interval,
       status = excluded.status, config = d.config || excluded.config
RETURNING deployment_id;

-- name: lock_client
-- The row of a client, and of another one that has its container, held until the end of the transaction.
SELECT d.client_name, d.container_name, d.sync_enabled, d.status, h.host_id, h.hostname, h.cluster_name,
       extract(epoch FROM clock_timestamp() - h.last_heartbeat)::float8 AS heartbeat_age_s
  FROM sync_metadata.client_deployments AS d LEFT JOIN sync_metadata.hosts AS h USING (host_id)
 WHERE d.client_name = %(client)s OR d.container_name = %(container)s
 ORDER BY d.client_name
   FOR UPDATE OF d;

-- name: move_deployments
-- Clients of the predecessor's rows, or of a machine that is lost, are this machine's from now on.
UPDATE sync_metadata.client_deployments SET host_id = %(host_id)s
 WHERE host_id = ANY (%(from)s) AND host_id <> %(host_id)s
RETURNING client_name;

-- name: delete_host
-- A machine's row that was made for nothing; one that clients hang on stays.
DELETE FROM sync_metadata.hosts AS h
 WHERE h.host_id = %(host_id)s
   AND NOT EXISTS (SELECT FROM sync_metadata.client_deployments AS d WHERE d.host_id = h.host_id)
RETURNING h.host_id;

-- name: lock_lost_hosts
-- Which of these machines are still lost; none of them leads, beats or gets a client until the end of the transaction.
SELECT h.host_id FROM sync_metadata.hosts AS h
 WHERE h.host_id = ANY (%(hosts)s::uuid[])
   AND (h.last_heartbeat IS NULL OR h.last_heartbeat < clock_timestamp() - make_interval(secs => %(stale_s)s))
 ORDER BY h.host_id FOR UPDATE;

-- name: count_quarantined
-- Values that the replicas could not hold, by client.
SELECT q.client_name, count(*) AS entries
  FROM sync_metadata.quarantine AS q
       JOIN sync_metadata.client_deployments AS d ON d.client_name = q.client_name
       JOIN sync_metadata.hosts AS h USING (host_id)
 WHERE h.cluster_name = %(cluster)s AND q.kind = 'quarantined'
 GROUP BY q.client_name ORDER BY q.client_name;
