/**
 * Finds every table of ours in the kernel, of any version and any name, without configuration.
 *
 * @module
 */
import type { FoundRules } from "./backend_options.ts";
import type { Exec, ExecResult } from "./exec.ts";
import { isLiving } from "./living_process.ts";
import { isOurs, readTables, type TableListing, tableState } from "./table_listing.ts";

/** All of them, or what nft said when it could not tell. */
export async function findNftRules(exec: Exec): Promise<FoundRules[] | ExecResult> {
  const tables = await readTables(exec);
  if (!Array.isArray(tables)) return tables;
  return await Promise.all(tables.filter(isOurs).map((table) => describe(table, exec)));
}

async function describe(table: TableListing, exec: Exec): Promise<FoundRules> {
  const state = tableState(table);
  const by = state?.by ?? null;
  return {
    what: `table inet ${table.name}`,
    tableName: table.name,
    hasRules: true,
    isInUse: table.isOwned || (by !== null && await isLiving(by, exec)),
    isKept: !table.isOwned && by === null,
    sysctls: state?.sysctls ?? [],
    remove: async () => {
      const result = await exec.run(["nft", "delete", "table", "inet", table.name]);
      return result.code === 0 ? undefined : result.stderr;
    },
  };
}
