/**
 * Finds every nft table of ours, of any version and any name, with no state and no configuration.
 *
 * @module
 */
import type { FoundRules } from "./backend_options.ts";
import type { Exec, ExecResult } from "./exec.ts";
import { isLiving } from "./living_process.ts";
import { STATE_CHAIN } from "./render_nft.ts";
import { isExecResult, isOurs, readTables, tableState } from "./table_listing.ts";

/** The tables, or what nft said when it could not tell. */
export async function findNftRules(exec: Exec): Promise<FoundRules[] | ExecResult> {
  const tables = await readTables(exec);
  if (isExecResult(tables)) return tables;
  return await Promise.all(
    tables.filter(isOurs).map(async (table): Promise<FoundRules> => {
      const state = tableState(table);
      const by = state?.by ?? null;
      return {
        what: `table inet ${table.name}`,
        tableName: table.name,
        isInUse: table.isOwned || (by !== null && await isLiving(by, exec)),
        isKept: !table.isOwned && by === null,
        isClosed: state?.onProxyDown === "closed",
        hasRules: table.chains.some(({ name }) => name !== STATE_CHAIN),
        sysctls: state?.sysctls ?? [],
        remove: async () => {
          const result = await exec.run(["nft", "delete", "table", "inet", table.name]);
          return result.code === 0 ? undefined : result.stderr;
        },
      };
    }),
  );
}
