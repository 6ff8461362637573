// Draws the pictures of [{token, digits}] on its standard input, as the page of
// the demo does.
import { text } from "node:stream/consumers";
import { picture } from "../../../cmd/demo/page/visualcode.js";

const jobs = JSON.parse(await text(process.stdin));
console.log(JSON.stringify(await Promise.all(jobs.map((j) => picture(j.token, j.digits)))));
