// One user turn of an agent on the Vercel AI SDK: node ai_sdk.mjs PROVIDER URL MODEL PROMPT TRANSCRIPT
// The transcript (the SDK's own messages as JSON) is continued when it exists. Prints the answer.
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

// The packages lie in the folder that PACKAGES names, not beside this file.
const require = createRequire(`${process.env.PACKAGES}/`);
const load = (name) => import(pathToFileURL(require.resolve(name)).href);

const [provider, url, model, prompt, transcript] = process.argv.slice(2);
const apiKey = process.env.BALEEN_KEY;

const providers = {
    "openai-compatible": async () => {
        const { createOpenAICompatible } = await load("@ai-sdk/openai-compatible");
        return createOpenAICompatible({ name: "baleen", baseURL: `${url}/v1`, apiKey })(model);
    },
    deepseek: async () => {
        const { createDeepSeek } = await load("@ai-sdk/deepseek");
        return createDeepSeek({ baseURL: `${url}/v1`, apiKey })(model);
    },
    anthropic: async () => {
        const { createAnthropic } = await load("@ai-sdk/anthropic");
        return createAnthropic({ baseURL: `${url}/v1`, apiKey })(model);
    },
    openai: async () => {
        const { createOpenAI } = await load("@ai-sdk/openai");
        return createOpenAI({ baseURL: `${url}/v1`, apiKey }).responses(model);
    },
};

const { stepCountIs, streamText, tool } = await load("ai");
const { z } = await load("zod");

const bash = tool({
    description: "Runs a bash command in the workspace and returns what it prints.",
    inputSchema: z.object({ command: z.string() }),
    execute: async ({ command }) => execFileSync("bash", ["-c", command], { encoding: "utf8" }),
});

const messages = existsSync(transcript) ? JSON.parse(readFileSync(transcript, "utf8")) : [];
messages.push({ role: "user", content: prompt });
const result = streamText({
    model: await providers[provider](),
    system: "You are an agent with a shell.",
    messages,
    tools: { bash },
    stopWhen: stepCountIs(10),
    maxRetries: 0,
    maxOutputTokens: 32000,
    providerOptions: {
        // The server keeps nothing; reasoning travels with the conversation, encrypted.
        openai: { store: false, forceReasoning: true, include: ["reasoning.encrypted_content"] },
        anthropic: { thinking: { type: "enabled", budgetTokens: 16000 } },
    },
    onError: ({ error }) => {
        throw error;
    },
});
const { messages: added } = await result.response;
writeFileSync(transcript, JSON.stringify([...messages, ...added], null, 1));
console.log(await result.text);
