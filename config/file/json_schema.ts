/**
 * The file's schema as JSON Schema, for editors.
 *
 * @module
 */
import { z } from "zod";
import { CONFIG_FILE } from "./schema.ts";

/** JSON Schema, draft 2020-12, of the configuration file. */
export function configJsonSchema(): Record<string, unknown> {
  const { "~standard": _, ...schema } = z.toJSONSchema(CONFIG_FILE, {
    io: "input",
    unrepresentable: "any",
    override: ({ zodSchema, jsonSchema }) => {
      // What is written is not what it is read as, so zod leaves the default out; ours are as one writes them.
      const fallback = z.globalRegistry.get(zodSchema)?.default;
      if (fallback !== undefined) jsonSchema.default = fallback as NonNullable<typeof jsonSchema.default>;
    },
  });
  return schema;
}
