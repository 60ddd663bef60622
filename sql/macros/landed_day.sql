-- The macro by which queries of landing files, and of what their survey found, tell the day of a row.
-- noqa: disable=CP05,LT02
-- (sqlfluff takes the parameters of a macro for types, and wants no indentation.)

-- The day that a row belongs to: that of its moment, null where that is out of scope. A row without a moment is
-- rejected: it belongs to the day of its arrival, else to the first day.
CREATE OR REPLACE TEMP MACRO landed_day(moment, arrival_day, first_day, end_day) AS
    CASE
        WHEN CAST(moment AS DATE) BETWEEN CAST(first_day AS DATE) AND CAST(end_day AS DATE) THEN CAST(moment AS DATE)
        WHEN moment IS NOT NULL THEN NULL
        WHEN arrival_day BETWEEN CAST(first_day AS DATE) AND CAST(end_day AS DATE) THEN arrival_day
        ELSE CAST(first_day AS DATE)
    END;

-- The first day of the partition of a day: `partition` is day, week (from Monday on) or month.
CREATE OR REPLACE TEMP MACRO partition_of(day, partition) AS
    CASE WHEN partition = 'day' THEN day ELSE CAST(date_trunc(partition, day) AS DATE) END;
