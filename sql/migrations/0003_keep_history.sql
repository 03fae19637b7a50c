-- Jobs, conflicts and cache events are history: they outlive the host and the client that they tell of, and keep
-- their names. Deleting is rare and done by who sees all, so the names are written then.

ALTER TABLE sync_metadata.conflict_log
    ADD COLUMN hostname varchar(255),
    ADD COLUMN cluster_name varchar(100),
    DROP CONSTRAINT conflict_log_deployment_id_fkey,
    ADD CONSTRAINT conflict_log_deployment_id_fkey
        FOREIGN KEY (deployment_id) REFERENCES sync_metadata.client_deployments ON DELETE SET NULL;

ALTER TABLE sync_metadata.sync_jobs
    ADD COLUMN hostname varchar(255),
    ADD COLUMN cluster_name varchar(100),
    DROP CONSTRAINT sync_jobs_deployment_id_fkey,
    ADD CONSTRAINT sync_jobs_deployment_id_fkey
        FOREIGN KEY (deployment_id) REFERENCES sync_metadata.client_deployments ON DELETE SET NULL;

ALTER TABLE sync_metadata.cache_events
    ADD COLUMN hostname varchar(255),
    ADD COLUMN cluster_name varchar(100),
    DROP CONSTRAINT cache_events_host_id_fkey,
    ADD CONSTRAINT cache_events_host_id_fkey
        FOREIGN KEY (host_id) REFERENCES sync_metadata.hosts ON DELETE SET NULL;

CREATE FUNCTION sync_metadata.keep_names_of_host() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    UPDATE sync_metadata.cache_events SET hostname = OLD.hostname, cluster_name = OLD.cluster_name
     WHERE host_id = OLD.host_id AND hostname IS NULL;
    UPDATE sync_metadata.sync_jobs AS j SET hostname = OLD.hostname, cluster_name = OLD.cluster_name
      FROM sync_metadata.client_deployments AS d
     WHERE d.host_id = OLD.host_id AND j.deployment_id = d.deployment_id AND j.hostname IS NULL;
    UPDATE sync_metadata.conflict_log AS c SET hostname = OLD.hostname, cluster_name = OLD.cluster_name
      FROM sync_metadata.client_deployments AS d
     WHERE d.host_id = OLD.host_id AND c.deployment_id = d.deployment_id AND c.hostname IS NULL;
    RETURN OLD;
END
$$;

CREATE FUNCTION sync_metadata.keep_names_of_client() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    UPDATE sync_metadata.sync_jobs AS j SET hostname = h.hostname, cluster_name = h.cluster_name
      FROM sync_metadata.hosts AS h
     WHERE h.host_id = OLD.host_id AND j.deployment_id = OLD.deployment_id AND j.hostname IS NULL;
    UPDATE sync_metadata.conflict_log AS c SET hostname = h.hostname, cluster_name = h.cluster_name
      FROM sync_metadata.hosts AS h
     WHERE h.host_id = OLD.host_id AND c.deployment_id = OLD.deployment_id AND c.hostname IS NULL;
    RETURN OLD;
END
$$;

CREATE TRIGGER keep_names BEFORE DELETE ON sync_metadata.hosts
    FOR EACH ROW EXECUTE FUNCTION sync_metadata.keep_names_of_host();
CREATE TRIGGER keep_names BEFORE DELETE ON sync_metadata.client_deployments
    FOR EACH ROW EXECUTE FUNCTION sync_metadata.keep_names_of_client();
