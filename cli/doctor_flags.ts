/**
 * The flags of `doctor`: those that say what is intercepted, none of which has to be given.
 *
 * @module
 */
import type { ConfigIssue } from "../config/mod.ts";
import { type FlagValues, toggle } from "./flag.ts";
import { checkInterceptionFlags, INTERCEPTION_FLAGS } from "./interception_flags.ts";

/** Every flag of `doctor`. */
export const DOCTOR_FLAGS = {
  ...INTERCEPTION_FLAGS,
  json: toggle("print the findings as one JSON object"),
  "no-self-test": toggle("leave out the interception of a connection and a datagram at the end"),
};

/** What `doctor` is told. */
export type DoctorValues = FlagValues<typeof DOCTOR_FLAGS>;

/** What makes no sense about the flags. A host may be judged before it is known what is to be intercepted. */
export function checkDoctor(values: DoctorValues): ConfigIssue[] {
  const namesTraffic = values.from.length > 0 || values.local || values.sidecar;
  return checkInterceptionFlags(namesTraffic ? values : { ...values, from: ["*"], local: true });
}
