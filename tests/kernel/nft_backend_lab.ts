/**
 * What the tests of the nft backend share.
 *
 * @module
 */
import type { Hold } from "../../nft/backend.ts";
import type { BackendOptions } from "../../nft/backend_options.ts";
import type { Exec } from "../../nft/exec.ts";
import { NftBackend } from "../../nft/nft_backend.ts";

/** Each has its own way of doing everything. */
export const HOLDS: readonly Hold[] = ["owner", "plain"];

/** Nobody of that name lives in a lab's process namespace, and nobody has to. */
export const NOBODY = "4711/1";

/** A backend for table `pellucid`. */
export function nftBackend(exec: Exec, hold: Hold, changes: Partial<BackendOptions> = {}): NftBackend {
  return new NftBackend({
    exec,
    tableName: "pellucid",
    hold,
    by: NOBODY,
    sysctls: [],
    afterwards: "true",
    ...changes,
  });
}

/** The whole ruleset as nft prints it, with handles and without counters. */
export async function listing(exec: Exec): Promise<string> {
  const result = await exec.run(["nft", "-a", "-s", "list", "ruleset"]);
  if (result.code !== 0) throw new Error(`nft list ruleset: ${result.stderr}`);
  return result.stdout;
}
