"""Ground that every layer may stand on: time, ids, logs, problems, and HTTP in and out."""
