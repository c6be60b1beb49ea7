/**
 * `doctor`: judges this host for a run with the same flags, and says what to do about it.
 *
 * @module
 */
import { resolveIntent } from "../control/mod.ts";
import { examine, isHealthy, renderText, reportOf, tryInterception } from "../doctor/mod.ts";
import { EXIT, type ExitCode } from "./command.ts";
import type { DoctorValues } from "./doctor_flags.ts";
import { interceptionConfig } from "./interception_flags.ts";

/** Prints the findings. */
export async function doctor(values: DoctorValues): Promise<ExitCode> {
  const config = interceptionConfig(values);
  const subject = { config, intent: await resolveIntent(config) };
  const findings = await examine(subject);
  if (!values["no-self-test"]) findings.push(...await tryInterception(subject));
  const report = reportOf(findings);
  console.log(values.json ? JSON.stringify(report, null, 2) : renderText(report).join("\n"));
  return isHealthy(findings) ? EXIT.ok : EXIT.failure;
}
