-- No row: another generation serves by now.
UPDATE projection SET serving = ? WHERE name = ? AND serving = ?
