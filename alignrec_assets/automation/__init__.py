"""When things run: conditions, rules, schedules, the sensor of the landing zone, and the selections of the line."""
