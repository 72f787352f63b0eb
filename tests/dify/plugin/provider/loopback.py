from dify_plugin import ModelProvider


class LoopbackProvider(ModelProvider):
    def validate_provider_credentials(self, credentials):
        pass
