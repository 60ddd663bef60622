-- Macros that the queries of landing files share: they type landed values, and say what is wrong with a value.
-- A session runs this file before it reads landing files. A landed value is text or of its own type; blank is null.
-- noqa: disable=CP05,LT02
-- (sqlfluff takes the parameters of a macro for types, and wants no indentation.)

-- Text in the normal form C, without the given blanks at its ends; null where nothing is left.
-- They are compared only where an end may be blank: trim with a list of them takes 2 s for a million rows.
CREATE OR REPLACE TEMP MACRO landed_text(landed, blanks) AS
    nullif(
        nfc_normalize(
            CASE
                WHEN strlen(landed) = length(landed) AND landed >= '!' AND reverse(landed) >= '!' THEN landed
                ELSE trim(landed, blanks)
            END
        ),
        ''
    );

-- A landed text, or null where it is a spelling of nothing.
CREATE OR REPLACE TEMP MACRO present_text(landed, missing_values) AS
    CASE WHEN NOT list_contains(missing_values, landed) THEN landed END;

-- An id: a text, or a whole number as the text of its integer, such as 101 for 101.0.
CREATE OR REPLACE TEMP MACRO landed_id(landed, missing_values) AS
    CASE
        WHEN contains(landed, '.') AND regexp_full_match(landed, '[+-]?\d{1,15}\.0*')
            THEN CAST(CAST(split_part(landed, '.', 1) AS BIGINT) AS VARCHAR)
        WHEN NOT list_contains(missing_values, landed) THEN landed
    END;

-- The id that a floating-point number stands for. A number from $exact_below on may be a rounded one: it keeps a form
-- that id_fault refuses, as a fraction does.
CREATE OR REPLACE TEMP MACRO number_as_id(landed, exact_below) AS
    CASE
        WHEN abs(landed) < exact_below AND landed = trunc(landed) THEN CAST(CAST(landed AS BIGINT) AS VARCHAR)
        WHEN isfinite(landed) AND (abs(landed) >= exact_below OR abs(landed) < 0.001) THEN format('{:e}', landed)
        ELSE CAST(landed AS VARCHAR)
    END;

-- A time in ISO 8601 as a moment in UTC; null where it is no such time, lies outside the years 1 to 9999, or has an
-- offset of 16 hours or more: no place on earth ever had one.
CREATE OR REPLACE TEMP MACRO landed_moment(landed) AS
    CASE
        WHEN typeof(landed) = 'VARCHAR'
            AND regexp_matches(CAST(landed AS VARCHAR), '\d[Tt ]\s*\d\d[^+-]*[+-](1[6-9]|[2-9]\d)')
            THEN NULL
        WHEN TRY_CAST(
            landed AS TIMESTAMPTZ
        ) BETWEEN TIMESTAMPTZ '0001-01-01' AND TIMESTAMPTZ '9999-12-31 23:59:59.999999'
            THEN make_timestamp(epoch_us(TRY_CAST(landed AS TIMESTAMPTZ)))
    END;

-- Tools without a missing boolean write 1.0 and 0.0.
CREATE OR REPLACE TEMP MACRO landed_flag(landed) AS
    CASE
        WHEN typeof(landed) = 'BOOLEAN' THEN TRY_CAST(landed AS BOOLEAN)
        WHEN TRY_CAST(landed AS DOUBLE) = 1 THEN TRUE
        WHEN TRY_CAST(landed AS DOUBLE) = 0 THEN FALSE
        ELSE TRY_CAST(CAST(landed AS VARCHAR) AS BOOLEAN)
    END;

-- A list, or null where one of its texts looks like a list itself.
CREATE OR REPLACE TEMP MACRO flat_list(texts) AS
    CASE WHEN len(list_filter(texts, LAMBDA text: regexp_matches(text, '^[\[({]'))) = 0 THEN texts END;

-- Tags as a list: text with bars, a JSON list of texts or of objects with a name, and the same as Python writes it, in
-- brackets or as a tuple. Null where it is no such list.
CREATE OR REPLACE TEMP MACRO landed_tags(landed) AS
    CASE
        WHEN starts_with(landed, '{') THEN NULL
        WHEN starts_with(landed, '[') AND TRY_CAST(landed AS JSON) IS NOT NULL
            THEN
                CASE
                    WHEN len(
                        list_filter(
                            json_type(TRY_CAST(landed AS JSON), '$[*]'), LAMBDA kind: kind IN ('ARRAY', 'OBJECT')
                        )
                    )
                        = 0
                        THEN TRY_CAST(TRY_CAST(landed AS JSON) AS VARCHAR[])
                    WHEN len(json_extract_string(TRY_CAST(landed AS JSON), '$[*].name'))
                        = json_array_length(TRY_CAST(landed AS JSON))
                        THEN json_extract_string(TRY_CAST(landed AS JSON), '$[*].name')
                END
        WHEN regexp_matches(landed, '^\[\s*\{')
            THEN
                CASE
                    WHEN len(regexp_extract_all(landed, '[''"]name[''"]:\s*(''[^'']*''|"[^"]*")', 1))
                        = len(regexp_extract_all(landed, '\{'))
                        THEN list_transform(
                                regexp_extract_all(landed, '[''"]name[''"]:\s*(''[^'']*''|"[^"]*")', 1),
                                LAMBDA name: name[2:-2]
                            )
                END
        WHEN starts_with(landed, '[') THEN flat_list(TRY_CAST(landed AS VARCHAR[]))
        WHEN regexp_full_match(landed, '\(\s*[''"].*[''"]\s*,?\s*\)')
            THEN flat_list(TRY_CAST('[' || rtrim(landed[2:-2], ', ') || ']' AS VARCHAR[]))
        ELSE string_split(landed, '|')
    END;

-- What is wrong with a value; null where nothing is.
CREATE OR REPLACE TEMP MACRO missing_fault(field, landed) AS
    CASE WHEN landed IS NULL THEN field || ': missing' END;

CREATE OR REPLACE TEMP MACRO value_fault(field, landed, fault) AS
    field || ': ''' || left(CAST(landed AS VARCHAR), 60) || ''' ' || fault;

CREATE OR REPLACE TEMP MACRO id_fault(field, id) AS
    CASE
        WHEN id IS NULL THEN field || ': missing'
        WHEN (contains(id, '.') OR contains(id, 'e+'))
            AND regexp_full_match(id, '[+-]?(\d+\.\d+e\+?\d+|\d+e\+\d+|\d{16,}\.0*)')
            THEN value_fault(field, id, 'is a rounded number: send ids as text or as integers')
        WHEN (contains(id, '.') OR contains(id, 'e-')) AND regexp_full_match(id, '[+-]?(\d*\.\d+(e-\d+)?|\d+e-\d+)')
            THEN value_fault(field, id, 'is not a whole number')
        WHEN list_contains(
                ['nan', 'NaN', 'NAN', 'inf', '-inf', '+inf', 'Inf', 'INF', 'infinity', 'Infinity', '-Infinity'], id
            )
            THEN value_fault(field, id, 'is not a whole number')
    END;

CREATE OR REPLACE TEMP MACRO item_fault(item_id, is_known) AS
    coalesce(
        id_fault('item_id', item_id),
        CASE WHEN NOT is_known THEN value_fault('item_id', item_id, 'is not among the items') END
    );

CREATE OR REPLACE TEMP MACRO moment_fault(field, landed, moment) AS
    CASE WHEN landed IS NOT NULL AND moment IS NULL THEN value_fault(field, landed, 'is not an ISO 8601 time') END;

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
