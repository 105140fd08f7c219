// Asks the server once with the AI SDK and prints what came, as JSON: ask.mjs KIND URL TOKEN MESSAGE LONGEST
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateObject, generateText, streamText, tool } from "ai";
import { z } from "zod";

globalThis.AI_SDK_LOG_WARNINGS = false;
const [kind, baseURL, apiKey, prompt, longest] = process.argv.slice(2);
const provider = createOpenAICompatible({ name: "tokmem", baseURL, apiKey, supportsStructuredOutputs: true });
const asked = { model: provider("none"), prompt, maxOutputTokens: Number(longest), maxRetries: 0 };
const paint = z.object({ colour: z.enum(["red", "blue"]) });

async function answer() {
  switch (kind) {
    case "text":
      return (await generateText(asked)).text;
    case "stream": {
      const pieces = [];
      for await (const piece of streamText(asked).textStream) pieces.push(piece);
      return pieces;
    }
    case "tool": {
      const tools = { paint: tool({ description: "Paint the house.", inputSchema: paint }) };
      const { toolCalls } = await generateText({ ...asked, tools, toolChoice: { type: "tool", toolName: "paint" } });
      return [toolCalls[0].toolName, toolCalls[0].input];
    }
    case "schema":
      return (await generateObject({ ...asked, schema: paint })).object;
  }
}

console.log(JSON.stringify(await answer()));
