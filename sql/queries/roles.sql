-- name: find_role
-- What a role may do, and who is looking.
SELECT r.rolsuper OR r.rolcreaterole OR r.rolcreatedb OR r.rolreplication OR r.rolbypassrls AS too_much,
       r.rolcanlogin, r.rolinherit, r.rolconnlimit
  FROM pg_roles AS r WHERE r.rolname = %(role)s;

-- name: find_self
-- Who the console is to the server, and what it may do there.
SELECT current_user, r.rolsuper, r.rolsuper OR r.rolcreaterole AS may_create_roles,
       has_database_privilege(current_database(), 'CREATE') AS may_create_schemas,
       has_database_privilege(current_database(), 'CREATE WITH GRANT OPTION') AS may_let_create_schemas,
       NOT EXISTS (SELECT FROM pg_namespace AS n LEFT JOIN pg_class AS c ON c.relnamespace = n.oid
                    WHERE n.nspname = 'sync_metadata'
                      AND NOT (pg_has_role(n.nspowner, 'USAGE') AND pg_has_role(coalesce(c.relowner, n.nspowner), 'USAGE'))
                  ) AS owns_metadata,
       current_setting('max_connections')::integer - current_setting('superuser_reserved_connections')::integer
           AS connections,
       (SELECT count(*)::integer FROM pg_stat_activity WHERE backend_type = 'client backend') AS used,
       extract(epoch FROM clock_timestamp())::float8 AS clock
  FROM pg_roles AS r WHERE r.rolname = current_user;

-- name: list_node_members
-- The clusters' login roles that are members of a client's owner.
SELECT m.rolname
  FROM pg_auth_members AS a JOIN pg_roles AS r ON r.oid = a.roleid JOIN pg_roles AS m ON m.oid = a.member
 WHERE r.rolname = %(role)s AND starts_with(m.rolname, 'sync_node_')
 ORDER BY m.rolname;

-- name: find_schema_owner
-- Whose a replica is.
SELECT pg_get_userbyid(nspowner) FROM pg_namespace WHERE nspname = %(schema)s;

-- name: list_foreign_relations
-- Tables, views and free sequences of a replica that are not its owner's; what belongs to a table goes with it.
SELECT c.relname
  FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
 WHERE n.nspname = %(schema)s AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
   AND pg_get_userbyid(c.relowner) <> %(owner)s
   AND NOT EXISTS (SELECT FROM pg_depend AS d
                    WHERE d.objid = c.oid AND d.classid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')
                      AND d.refobjsubid > 0)
 ORDER BY c.relname;

-- name: grant_node_access
-- What a cluster's nodes need in sync_metadata.
SELECT sync_metadata.grant_node_access(%(cluster)s::text);

-- name: grant_client_access
-- What the owner of a client's replica needs in sync_metadata, and to make the replica.
SELECT sync_metadata.grant_client_access(%(client)s::text);
