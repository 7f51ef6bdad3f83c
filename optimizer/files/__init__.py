"""Files in and out: one strict reader of tables, whatever they hold."""
