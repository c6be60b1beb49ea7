/**
 * `config check|schema`: a configuration file judged without being used, and what editors are to know of such files.
 *
 * @module
 */
import { ConfigError, type ConfigIssue } from "../config/mod.ts";
import type { RoutingConfig } from "../config/mod.ts";
import { checkRouteMarks } from "../control/mod.ts";
import { EXIT, type ExitCode } from "./command.ts";
import { readConfigured } from "./configured.ts";
import { describeConfig } from "./config_summary.ts";
import { reportWarning } from "./failure.ts";
import { parseFlags } from "./parse_flags.ts";
import { checkRun, RUN_FLAGS, runConfig } from "./run_flags.ts";

/** Prints what the file means. */
export async function check(_values: unknown, operands: readonly string[]): Promise<ExitCode> {
  const [file, ...more] = operands;
  if (file === undefined || more.length > 0) {
    throw new ConfigError([{
      path: "arguments",
      found: operands.join(" ") || "nothing",
      wanted: "one FILE",
    }]);
  }
  const configured = await readConfigured(RUN_FLAGS, parseFlags(RUN_FLAGS, ["--config", file]));
  const { values } = configured;
  const config = runConfig(values);
  const warnings = [...configured.warnings, ...await missingFiles(configured.values as FileNames)];
  for (const warning of warnings) {
    reportWarning(warning, { command: "config check", json: false, debug: false });
  }
  const issues: ConfigIssue[] = [
    ...configured.issues,
    ...configured.inItsWords([
      ...checkRun(values),
      ...checkRouteMarks(config.upstreams),
    ]),
  ];
  if (issues.length > 0) throw new ConfigError(issues.toSorted(byPlace));
  console.log([`${file}: ok`, ...describeConfig(config)].join("\n"));
  return EXIT.ok;
}

/** Prints the JSON Schema. */
export async function schema(): Promise<ExitCode> {
  const { configJsonSchema } = await import("../config/file/mod.ts");
  console.log(JSON.stringify(configJsonSchema(), null, 2));
  return EXIT.ok;
}

type FileNames = Readonly<Record<`${"include" | "exclude"}-${"cidr" | "source"}-file`, readonly string[]>> & {
  readonly routing?: RoutingConfig;
};

/** A file may be checked on another host than it is for, so what is not here may be there. */
async function missingFiles(values: FileNames): Promise<string[]> {
  const files = new Set([
    ...values["include-cidr-file"],
    ...values["exclude-cidr-file"],
    ...values["include-source-file"],
    ...values["exclude-source-file"],
    ...values.routing?.policy.rules.flatMap((rule) => [...rule.destinationFiles, ...rule.sourceFiles]) ?? [],
    ...values.routing?.upstreams.flatMap((upstream) =>
      "credentials" in upstream && upstream.credentials?.password.kind === "file"
        ? [upstream.credentials.password.path]
        : []
    ) ?? [],
  ]);
  const warnings = [];
  for (const file of files) {
    try {
      (await Deno.open(file)).close();
    } catch {
      warnings.push(`${file}: not here, or not to be read by this user`);
    }
  }
  return warnings;
}

function byPlace(a: ConfigIssue, b: ConfigIssue): number {
  return (a.place?.line ?? 0) - (b.place?.line ?? 0) || (a.place?.column ?? 0) - (b.place?.column ?? 0);
}
