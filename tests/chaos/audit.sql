-- What the server itself saw of leases and of replicas' generations, in order; nothing of the product writes here.
-- The rows of one client, and of the lease, are numbered while their row is locked: their order is the order of commits.
CREATE SCHEMA chaos;
GRANT USAGE ON SCHEMA chaos TO PUBLIC;

CREATE TABLE chaos.leases (
    number      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at          timestamptz NOT NULL DEFAULT clock_timestamp(),
    cluster     text NOT NULL,
    leader_id   text NOT NULL,
    term        bigint NOT NULL,
    expires_at  timestamptz NOT NULL,
    application text NOT NULL
);

CREATE TABLE chaos.writes (
    number      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at          timestamptz NOT NULL DEFAULT clock_timestamp(),
    client      text NOT NULL,
    generation  bigint NOT NULL,
    advanced    boolean NOT NULL,
    fence       bigint NOT NULL,
    fence_was   bigint NOT NULL,
    application text NOT NULL
);

CREATE FUNCTION chaos.note_lease() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
    INSERT INTO chaos.leases (cluster, leader_id, term, expires_at, application)
    VALUES (NEW.cluster_name, NEW.leader_id, NEW.term, NEW.expires_at, current_setting('application_name'));
    RETURN NULL;
END
$$;

CREATE FUNCTION chaos.note_write() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO chaos.writes (client, generation, advanced, fence, fence_was, application)
        VALUES (NEW.client_name, NEW.generation, false, NEW.fence, NEW.fence, current_setting('application_name'));
    ELSIF NEW.generation <> OLD.generation OR NEW.fence <> OLD.fence THEN
        INSERT INTO chaos.writes (client, generation, advanced, fence, fence_was, application)
        VALUES (NEW.client_name, NEW.generation, NEW.generation <> OLD.generation, NEW.fence, OLD.fence,
                current_setting('application_name'));
    END IF;
    RETURN NULL;
END
$$;

CREATE TRIGGER chaos_lease AFTER INSERT OR UPDATE ON sync_metadata.leader_election
    FOR EACH ROW EXECUTE FUNCTION chaos.note_lease();
CREATE TRIGGER chaos_write AFTER INSERT OR UPDATE ON sync_metadata.replication_state
    FOR EACH ROW EXECUTE FUNCTION chaos.note_write();
