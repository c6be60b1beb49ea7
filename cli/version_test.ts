import { assertEquals } from "../tests/assert.ts";
import manifest from "../deno.json" with { type: "json" };
import { VERSION } from "./version.ts";

Deno.test("the version shown is the package's", () => assertEquals(VERSION, manifest.version));
