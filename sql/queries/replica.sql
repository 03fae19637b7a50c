-- name: list_tables
-- The tables of a client's replica, by name; none: there is no replica.
SELECT c.relname
  FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
 WHERE n.nspname = %(client)s AND c.relkind = 'r'
 ORDER BY c.relname;
