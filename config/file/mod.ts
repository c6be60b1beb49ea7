/**
 * The configuration file. Loaded by whoever has one to read, for its parsers are not small.
 *
 * @module
 */
export * from "./config_text.ts";
export * from "./json_schema.ts";
export { type FileSettings, keyOfFlag, SETTING_KEYS } from "./setting_keys.ts";
