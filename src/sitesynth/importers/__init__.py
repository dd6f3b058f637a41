"""From the folders that hospitals and archives really have to a cohort's table."""
