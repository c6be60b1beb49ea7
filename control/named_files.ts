/**
 * What is wrong with the files that a configuration names, as far as they are here. It may be checked on another host
 * than it is for, so a file that is not here is no fault of it.
 *
 * @module
 */
import type { ConfigIssue, RunConfig } from "../config/mod.ts";
import { THIS_HOST } from "./host_lookups.ts";
import { readPrefixFile } from "./list_files.ts";
import { readSecret } from "./secrets.ts";

/** What was found. */
export interface NamedFiles {
  /** Bad lines of lists, and passwords that cannot be one. */
  readonly issues: readonly ConfigIssue[];
  /** Paths of those that are not here, or that this user may not read. */
  readonly missing: readonly string[];
}

/** Reads the lists and the passwords that `config` names. */
export async function checkNamedFiles(config: RunConfig): Promise<NamedFiles> {
  const issues: ConfigIssue[] = [];
  const missing: string[] = [];
  const seen = new Set<string>();
  for (const { path, files } of listsOf(config)) {
    for (const file of files) {
      // What several name is read once, and what is wrong with it said once.
      if (seen.has(file)) continue;
      seen.add(file);
      if (await isHere(file)) await readPrefixFile(path, file, issues);
      else missing.push(file);
    }
  }
  for (const upstream of config.upstreams) {
    if (upstream.kind !== "socks5" && upstream.kind !== "http") continue;
    const password = upstream.credentials?.password;
    if (password?.kind !== "file") continue;
    const path = `upstream.${upstream.name}`;
    if (await isHere(password.path)) await readSecret(path, upstream.kind, password, THIS_HOST, issues);
    else if (!missing.includes(password.path)) missing.push(password.path);
  }
  return { issues, missing };
}

function* listsOf({ select, policy }: RunConfig): Generator<{ path: string; files: readonly string[] }> {
  const { destinations, sources } = select;
  yield { path: "--include-cidr-file", files: destinations.includeFiles };
  yield { path: "--exclude-cidr-file", files: destinations.excludeFiles };
  yield { path: "--include-source-file", files: sources.includeFiles };
  yield { path: "--exclude-source-file", files: sources.excludeFiles };
  for (const [i, rule] of policy.rules.entries()) {
    yield { path: `rule[${i + 1}].destination-file`, files: rule.destinationFiles };
    yield { path: `rule[${i + 1}].source-file`, files: rule.sourceFiles };
  }
}

async function isHere(file: string): Promise<boolean> {
  try {
    // Opening is the only way to learn whether this user may read it.
    (await Deno.open(file)).close();
    return true;
  } catch {
    return false;
  }
}
