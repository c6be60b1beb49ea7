/**
 * The programs of an iptables flavour. Distributions call them differently: `iptables-nft` may be the only one, one
 * of two, or be called `iptables`; each says of itself which it is.
 *
 * @module
 */
import type { IpFamily } from "../net/address.ts";
import type { Exec } from "./exec.ts";
import { type ApplyStage, RuleApplyError } from "./rule_apply_error.ts";

/** The backends that are iptables. */
export type IptablesName = "iptables" | "iptables-legacy";

/** The names of one flavour's programs. */
export interface IptablesPrograms {
  /** Writes rules out. */
  save(family: IpFamily): string;
  /** Reads rules in. */
  restore(family: IpFamily): string;
}

/** Under which name a flavour may be there, the surest first. */
const NAMES: Readonly<Record<IptablesName, readonly string[]>> = {
  "iptables": ["iptables-nft", "iptables"],
  "iptables-legacy": ["iptables-legacy", "iptables"],
};

/** @throws {RuleApplyError} of that stage when the host has no program of this flavour. */
export async function findIptables(
  name: IptablesName,
  exec: Pick<Exec, "run">,
  stage: ApplyStage,
): Promise<IptablesPrograms> {
  for (const program of NAMES[name]) {
    const version = await exec.run([program, "--version"]);
    if (version.code === 0 && isFlavour(name, version.stdout)) return programs(program);
  }
  throw new RuleApplyError(stage, `${name}: no program ${NAMES[name].join(" or ")} of that kind here`);
}

/**
 * Shell commands that set `$iptables` to the program, or to nothing: findIptables for a shell.
 */
export function findIptablesScript(name: IptablesName): string[] {
  const [own, plain] = NAMES[name];
  const pattern = name === "iptables" ? "*nf_tables*) " : "*nf_tables*) iptables= ;; *) ";
  return [
    `iptables=${own}`,
    `if ! command -v ${own} >/dev/null 2>&1; then`,
    `case $(${plain} --version 2>/dev/null) in '') iptables= ;; ${pattern}iptables=${plain} ;;` +
    `${name === "iptables" ? " *) iptables= ;;" : ""} esac`,
    "fi",
  ];
}

/** Before 1.8 there was one flavour, which did not say so. */
function isFlavour(name: IptablesName, version: string): boolean {
  return version.includes("nf_tables") === (name === "iptables");
}

function programs(iptables: string): IptablesPrograms {
  const of = (family: IpFamily) => family === 4 ? iptables : iptables.replace("ip", "ip6");
  return {
    save: (family) => `${of(family)}-save`,
    restore: (family) => `${of(family)}-restore`,
  };
}
