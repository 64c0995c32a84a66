SELECT outs FROM consumer_slot WHERE group_id = ? AND outs <> ''
