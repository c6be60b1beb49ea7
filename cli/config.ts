/**
 * `config check|schema`: a configuration file judged without being used, and what editors are to know of such files.
 *
 * @module
 */
import { ConfigError, type ConfigIssue } from "../config/mod.ts";
import { checkNamedFiles, checkRouteMarks } from "../control/mod.ts";
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
  const files = await checkNamedFiles(config);
  const missing = files.missing.map((file) => `${file}: not here, or not to be read by this user`);
  const warnings = [...configured.warnings, ...missing];
  for (const warning of warnings) {
    reportWarning(warning, { command: "config check", json: false, debug: false });
  }
  const issues: ConfigIssue[] = [
    ...configured.issues,
    ...configured.inItsWords([
      ...checkRun(values),
      ...checkRouteMarks(config.upstreams),
      ...files.issues,
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

function byPlace(a: ConfigIssue, b: ConfigIssue): number {
  return (a.place?.line ?? 0) - (b.place?.line ?? 0) || (a.place?.column ?? 0) - (b.place?.column ?? 0);
}
