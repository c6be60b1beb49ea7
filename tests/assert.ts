/**
 * The assertions of @std/assert, typed. Tests import them from here, so that the types are named once.
 *
 * @module
 */
// @ts-types="./assert.d.ts"
export * from "@std/assert";
