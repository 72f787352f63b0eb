from dify_plugin import OAICompatLargeLanguageModel


class LoopbackModel(OAICompatLargeLanguageModel):
    def _get_num_tokens_by_gpt2(self, text):
        # The SDK's own counting downloads a vocabulary.
        return len(text.split())
