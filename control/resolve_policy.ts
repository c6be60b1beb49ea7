/**
 * From the rules of a policy as the user says them to what workers look flows up in.
 *
 * @module
 */
import {
  type ConfigIssue,
  fitsInterfacePattern,
  isInterfacePattern,
  type PolicyRuleConfig,
} from "../config/mod.ts";
import { mergePortRanges, parsePrefix } from "../net/mod.ts";
import type { PolicyRule } from "../policy/rule.ts";
import { AccountIds } from "./account_ids.ts";
import type { HostLookups, NumberedInterface } from "./host_lookups.ts";
import { readPrefixFile } from "./list_files.ts";

/** The rules with everything in them resolved, in their order; what cannot be resolved becomes issues. */
export async function resolvePolicyRules(
  rules: readonly PolicyRuleConfig[],
  indexOf: (route: string) => number,
  host: HostLookups,
  issues: ConfigIssue[],
): Promise<PolicyRule[]> {
  const accounts = new AccountIds();
  const interfaces = rules.some((rule) => rule.interfaces.length > 0)
    ? await listInterfaces(host, issues)
    : [];
  const lists = new Map<string, Promise<readonly string[]>>();
  const readList = (path: string, file: string) => {
    // A list that several rules name is read once, and what is wrong with it is said once.
    const known = lists.get(file) ??
      readPrefixFile(path, file, issues).then((all) => all.map(({ text }) => text));
    lists.set(file, known);
    return known;
  };
  const prefixes = async (path: string, given: readonly string[], files: readonly string[]) => {
    if (given.length === 0 && files.length === 0) return undefined;
    const fromFiles = await Promise.all([...new Set(files)].map((file) => readList(`${path}-file`, file)));
    return given.map((text) => parsePrefix(text)!.text).concat(...fromFiles);
  };
  return await Promise.all(rules.map(async (rule, i): Promise<PolicyRule> => {
    const path = `rule[${i + 1}]`;
    return {
      network: rule.network,
      destinations: await prefixes(`${path}.destination`, rule.destinations, rule.destinationFiles),
      destinationPorts: filled(mergePortRanges(rule.destinationPorts)),
      sources: await prefixes(`${path}.source`, rule.sources, rule.sourceFiles),
      sourcePorts: filled(mergePortRanges(rule.sourcePorts)),
      interfaces: indexesOf(`${path}.interface`, rule.interfaces, interfaces, issues),
      uids: rule.uids.length === 0 ? undefined : accounts.resolve("user", `${path}.uid`, rule.uids, issues),
      dscp: filled(rule.dscp),
      to: indexOf(rule.to),
    };
  }));
}

/** In a configuration, nothing named is everything. */
function filled<T>(values: readonly T[]): readonly T[] | undefined {
  return values.length === 0 ? undefined : values;
}

async function listInterfaces(
  host: HostLookups,
  issues: ConfigIssue[],
): Promise<readonly NumberedInterface[]> {
  try {
    return await host.interfaces();
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    issues.push({
      path: "rule",
      found: why,
      wanted: "interfaces that can be listed, since a rule names some",
    });
    return [];
  }
}

function indexesOf(
  path: string,
  names: readonly string[],
  interfaces: readonly NumberedInterface[],
  issues: ConfigIssue[],
): readonly number[] | undefined {
  if (names.length === 0) return undefined;
  const meant = interfaces.filter(({ name }) => names.some((one) => fitsInterfacePattern(one, name)));
  const missing = names.filter((one) => !isInterfacePattern(one) && !meant.some(({ name }) => name === one));
  if (missing.length > 0 && interfaces.length > 0) {
    issues.push({
      path,
      found: `${missing.join(", ")}, not there`,
      wanted: `one of ${interfaces.map(({ name }) => name).join(", ")}`,
      hint: "the configuration can be read again when it is there",
    });
  }
  return meant.map(({ index }) => index);
}
