/**
 * From a backend's name to the backend.
 *
 * @module
 */
import type { Backend, BackendName } from "./backend.ts";
import type { BackendOptions, FoundRules } from "./backend_options.ts";
import type { Exec, ExecResult } from "./exec.ts";
import { findIptablesRules } from "./iptables_found.ts";
import { findNftRules } from "./find_nft_rules.ts";
import { IptablesBackend } from "./iptables_backend.ts";
import { NftBackend } from "./nft_backend.ts";
import { isRuleApplyError } from "./rule_apply_error.ts";

/** Every backend, the one that is taken where all work first. */
export const BACKENDS: readonly BackendName[] = ["nft", "iptables", "iptables-legacy"];

/** The backend of that name; nothing is done with it yet. @param ipv6 whether the kernel has it. */
export function openBackend(
  name: BackendName,
  options: BackendOptions & { readonly ipv6: boolean },
): Backend {
  return name === "nft" ? new NftBackend(options) : new IptablesBackend(name, options);
}

/** What of ours is in the kernel by that backend; or what its tool said when it could not tell. */
export async function findRules(name: BackendName, exec: Exec): Promise<FoundRules[] | ExecResult> {
  return name === "nft" ? await findNftRules(exec) : await findIptablesRules(name, exec);
}

/** The same where a tool that does not work, on a kernel without nf_tables for instance, is one that has no rules. */
export async function findReadableRules(name: BackendName, exec: Exec): Promise<FoundRules[]> {
  try {
    const found = await findRules(name, exec);
    return Array.isArray(found) ? found : [];
  } catch (error) {
    if (isRuleApplyError(error)) return [];
    throw error;
  }
}
