"""SQLite into PostgreSQL: snapshot, baseline, difference, load, apply, verify; knows neither clusters nor menus."""
