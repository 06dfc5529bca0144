"""Functions of the engines that touch nothing but what they are given, and that sqlglot does not know by name."""

from __future__ import annotations

BUILT_IN = frozenset(
    {
        *("age", "array_fill", "array_position", "array_positions", "array_remove", "array_replace"),
        *("array_upper", "bin", "bin_to_uuid", "btrim", "cardinality", "changes", "clock_timestamp", "conv"),
        *("convert_from", "convert_to", "crc32", "current_schema", "current_setting", "daterange", "datetime"),
        *("decode", "elt", "encode", "export_set", "field", "find_in_set", "format", "gen_random_bytes"),
        *("get_byte", "glob", "hex", "host", "ifnull", "iif", "inet6_aton", "inet6_ntoa", "inet_aton"),
        *("inet_ntoa", "int4range", "int8range", "isfinite", "json", "json_array", "json_array_append"),
        *("json_array_insert", "json_array_length", "json_build_array", "json_build_object", "json_contains"),
        *("json_each", "json_group_array", "json_group_object", "json_insert", "json_keys", "json_length"),
        *("json_merge_patch", "json_merge_preserve", "json_object", "json_patch", "json_quote", "json_remove"),
        *("json_replace", "json_set", "json_type", "json_unquote", "json_valid", "jsonb_agg"),
        *("jsonb_array_elements", "jsonb_array_elements_text", "jsonb_array_length", "jsonb_build_array"),
        *("jsonb_build_object", "jsonb_each", "jsonb_each_text", "jsonb_extract_path"),
        *("jsonb_extract_path_text", "jsonb_insert", "jsonb_object", "jsonb_object_agg", "jsonb_object_keys"),
        *("jsonb_path_exists", "jsonb_path_query", "jsonb_pretty", "jsonb_set", "jsonb_strip_nulls"),
        *("jsonb_to_tsvector", "jsonb_typeof", "julianday", "last_insert_id", "last_insert_rowid"),
        *("likelihood", "likely", "make_date", "make_interval", "make_time", "make_timestamp"),
        *("make_timestamptz", "makedate", "maketime", "masklen", "nlevel", "now", "num_nonnulls", "num_nulls"),
        *("numrange", "oct", "octet_length", "ord", "overlay", "period_add", "pg_typeof", "phraseto_tsquery"),
        *("plainto_tsquery", "printf", "quote", "quote_ident", "quote_literal", "quote_nullable", "randomblob"),
        *("regexp_match", "regexp_matches", "regexp_split_to_array", "regexp_split_to_table", "row_to_json"),
        *("scale", "sec_to_time", "setseed", "setweight", "similarity", "soundex", "statement_timestamp"),
        *("strftime", "string_to_table", "strip", "substr", "substring_index", "sysdate", "time_to_sec"),
        *("timediff", "timeofday", "to_ascii", "to_date", "to_hex", "to_json", "to_jsonb", "to_number"),
        *("to_timestamp", "to_tsquery", "to_tsvector", "total", "total_changes", "transaction_timestamp"),
        *("trunc", "tsrange", "tstzrange", "typeof", "unhex", "unicode", "unistr", "unixepoch", "unlikely"),
        *("uuid", "uuid_generate_v1", "uuid_generate_v4", "uuid_to_bin", "websearch_to_tsquery"),
        *("width_bucket", "word_similarity", "zeroblob"),
    }
)
