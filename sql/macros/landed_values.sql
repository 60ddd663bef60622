-- Macros that the queries of landing files share: they type landed values, and say what is wrong with a value.
-- A session runs this file before it reads landing files. A landed value is text or of its own type; blank is null.
-- noqa: disable=CP05,LT02
-- (sqlfluff takes the parameters of a macro for types, and wants no indentation.)

-- A time in ISO 8601 as a moment in UTC; null where it is no such time or lies outside the years 1 to 9999.
CREATE OR REPLACE TEMP MACRO landed_moment(landed) AS
    CASE
        WHEN TRY_CAST(landed AS TIMESTAMPTZ) BETWEEN TIMESTAMPTZ '0001-01-01' AND TIMESTAMPTZ '9999-12-31'
            THEN make_timestamp(epoch_us(TRY_CAST(landed AS TIMESTAMPTZ)))
    END;

-- The day that a row belongs to: that of its moment, else of its arrival, else the first; within the calendar.
CREATE OR REPLACE TEMP MACRO landed_day(moment, arrival_day, first_day, last_day) AS
    least(
        greatest(coalesce(CAST(moment AS DATE), arrival_day, CAST(first_day AS DATE)), CAST(first_day AS DATE)),
        CAST(last_day AS DATE)
    );

-- Tools without a missing boolean write 1.0 and 0.0.
CREATE OR REPLACE TEMP MACRO landed_flag(landed) AS
    CASE
        WHEN typeof(landed) = 'BOOLEAN' THEN TRY_CAST(landed AS BOOLEAN)
        ELSE TRY_CAST(replace(CAST(landed AS VARCHAR), '.0', '') AS BOOLEAN)
    END;

-- What is wrong with a value; null where nothing is.
CREATE OR REPLACE TEMP MACRO missing_fault(field, landed) AS
    CASE WHEN landed IS NULL THEN field || ': missing' END;

CREATE OR REPLACE TEMP MACRO value_fault(field, landed, fault) AS
    field || ': ''' || left(CAST(landed AS VARCHAR), 60) || ''' ' || fault;

CREATE OR REPLACE TEMP MACRO item_fault(item_id, is_known) AS
    CASE
        WHEN item_id IS NULL THEN 'item_id: missing'
        WHEN NOT is_known THEN value_fault('item_id', item_id, 'is not among the items')
    END;

CREATE OR REPLACE TEMP MACRO moment_fault(field, landed, moment) AS
    CASE WHEN landed IS NOT NULL AND moment IS NULL THEN value_fault(field, landed, 'is not an ISO 8601 time') END;

CREATE OR REPLACE TEMP MACRO calendar_fault(landed, moment, day, first_day, last_day) AS
    CASE
        WHEN CAST(moment AS DATE) <> day
            THEN value_fault(
                'ts', landed, 'lies outside the calendar (first_day ' || CAST(first_day AS VARCHAR) || ', last_day '
                || coalesce(CAST(last_day AS VARCHAR), 'open') || ')'
            )
    END;

CREATE OR REPLACE TEMP MACRO number_fault(field, landed, number) AS
    CASE
        WHEN landed IS NOT NULL AND (number IS NULL OR NOT isfinite(number))
            THEN value_fault(field, landed, 'is not a number')
    END;

CREATE OR REPLACE TEMP MACRO amount_fault(field, landed, number) AS
    coalesce(
        number_fault(field, landed, number), CASE WHEN number < 0 THEN field || ': ' || landed || ' is negative' END
    );

CREATE OR REPLACE TEMP MACRO flag_fault(field, landed, flag) AS
    CASE WHEN landed IS NOT NULL AND flag IS NULL THEN value_fault(field, landed, 'is not true or false') END;

-- Why a landing row is rejected; null where it is sound. Only an empty file has a row without a number.
CREATE OR REPLACE TEMP MACRO row_fault(row_number, faults) AS
    CASE WHEN row_number IS NULL THEN 'empty file: it holds no bytes' ELSE nullif(faults, '') END;

-- What is kept of a rejected row: its landed values as JSON.
CREATE OR REPLACE TEMP MACRO rejected_payload(row_number, reason, landed) AS
    CASE WHEN reason IS NOT NULL AND row_number IS NOT NULL THEN CAST(to_json(landed) AS VARCHAR) END;
